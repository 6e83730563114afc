package host

import (
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"
)

func ExampleFunctions() {
	for _, f := range Functions(nil) {
		if f.Name == "region.within" {
			in, err := f.Call([]any{"velero.io/aws", "eu-west-2", []any{"eu"}})
			fmt.Println(in, err)
		}
	}
	// Output: false <nil>
}

func call(name string, args ...any) (any, error) {
	for _, f := range Functions(nil) {
		if f.Name == name {
			return f.Call(args)
		}
	}
	return nil, fmt.Errorf("no function %s", name)
}

func TestCalls(t *testing.T) {
	type m = map[string]any
	for _, c := range []struct {
		name string
		args []any
		want any // an error whose text holds it, when the value is of type error text
	}{
		{"region.locate", []any{"aws", "eu-central-1a"}, m{"provider": "aws", "region": "eu-central-1", "partition": "aws", "countries": []any{"DE"}, "areas": []any{}}},
		{"region.bucket", []any{"gcp", "EU"}, m{"provider": "gcp", "region": "eu", "partition": "gcp", "countries": []any{}, "areas": []any{"eu"}}},
		{"region.bucket", []any{"aws", nil}, m{"provider": "aws", "region": "us-east-1", "partition": "aws", "countries": []any{"US"}, "areas": []any{}}},
		{"region.known", []any{"aws", "eu-central-1"}, true},
		{"region.known", []any{"aws", "minio"}, false},
		{"region.within", []any{"aws", "eu-central-1", []any{"eu"}}, true},
		{"region.within", []any{"azure", "West Europe", []any{"us", "gb"}}, false},
		{"retention.covers", []any{"720h0m0s", "30d"}, true},
		{"retention.covers", []any{"186d", "6m"}, true},
		{"retention.covers", []any{"719h", "30d"}, false},
		{"retention.exceeds", []any{"8760h", "1y"}, false},
		{"retention.exceeds", []any{"8784h", "1y"}, true},
		{"retention.horizon", []any{"go-duration", "720h0m0s"}, "720h"},
		{"retention.horizon", []any{"go-duration", "90m"}, "1h30m0s"},
		{"retention.horizon", []any{"barman", "6m"}, "186d"},
		{"retention.horizon", []any{"s3-years", int64(7)}, "7y"},
		{"retention.horizon", []any{"gcs-seconds", "604800"}, "168h"},
		{"retention.horizon", []any{"kopia-nanoseconds", float64(3.6e12)}, "1h"},
		{"retention.horizon", []any{"text", "6m"}, "6mo"},
		{"retention.gfs", []any{m{"daily": int64(7)}, "0 3 * * *"}, m{"min": "7d", "max": "7d"}},
		{"retention.gfs", []any{m{"daily": 7.0, "weekly": nil}, ""}, m{"min": "6d", "max": "8d"}},
		{"retention.text", []any{"7y"}, "7 years"},
		{"schedule.valid", []any{"0 3 * * *"}, true},
		{"schedule.valid", []any{"0 0 31 2 *"}, false},
		{"schedule.valid", []any{"TZ="}, false},
		{"schedule.longest_gap", []any{"0 3 * * *"}, "24h"},
		{"schedule.longest_gap", []any{"*/15 * * * *"}, "15m0s"},
		{"schedule.longest_gap_with_seconds", []any{"0 0 3 * * *"}, "24h"},
		{"schedule.within", []any{"0 3 * * *", "24h"}, true},
		{"schedule.within", []any{"0 3 * * 1-5", "1d"}, false},
		{"schedule.within", []any{"CRON_TZ=Europe/Berlin 0 3 * * *", "1d"}, false},
	} {
		got, err := call(c.name, c.args...)
		if err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s%v = %v, %v, want %v", c.name, c.args, got, err, c.want)
		}
	}
}

func TestCallErrors(t *testing.T) {
	type m = map[string]any
	for _, c := range []struct {
		name string
		args []any
		want string
	}{
		{"region.locate", []any{"aws", "xx-north-9"}, `locate "xx-north-9": not a region Proviso knows; declare it under regions: in proviso.yaml`},
		{"region.locate", []any{"aws"}, "call region.locate: 1 arguments, want 2"},
		{"region.locate", []any{"aws", nil}, "call region.locate: place is a null, want a string"},
		{"region.within", []any{"aws", "eu-central-1", []any{}}, "no sets given"},
		{"region.within", []any{"aws", "eu-central-1", []any{int64(1)}}, "sets[0] is a number, want a string"},
		{"region.within", []any{"aws", "eu-central-1", []any{"eu", "atlantis"}}, "not a set"},
		{"region.bucket", []any{"aws", 1.0}, "constraint is a number"},
		{"region.bucket", []any{"", nil}, "without its provider"},
		{"retention.covers", []any{"6m", "6m"}, "minutes to Velero, months to Barman"},
		{"retention.covers", []any{int64(30), "30d"}, "not a text"},
		{"retention.covers", []any{"30d", nil}, "not a text"},
		{"retention.exceeds", []any{"", "30d"}, "want a number and a unit"},
		{"retention.horizon", []any{"go-duration", "30d"}, "no unit for days"},
		{"retention.horizon", []any{"new\nline", "30d"}, `notation "new\nline" is unknown`},
		{"retention.gfs", []any{m{"daily": "7"}, ""}, "count daily is not a whole number"},
		{"retention.gfs", []any{m{"daily": math.NaN()}, ""}, "count daily is not a whole number"},
		{"retention.gfs", []any{m{"keepDaily": int64(7)}, ""}, `count "keepDaily" is not one of`},
		{"retention.gfs", []any{m{"last": int64(7)}, ""}, "last says nothing without a schedule"},
		{"retention.gfs", []any{m{}, "@daily"}, "nothing is kept"},
		{"schedule.longest_gap", []any{"0 0 31 2 *"}, "it never runs"},
		{"schedule.within", []any{"@daily", "soon"}, "want a number and a unit"},
	} {
		got, err := call(c.name, c.args...)
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") || got != nil {
			t.Errorf("%s%v = %v, %v, want %q", c.name, c.args, got, err, c.want)
		}
	}
}

func TestFunctions(t *testing.T) {
	all := Functions(nil)
	if len(all) != 14 || !slices.IsSortedFunc(all, func(a, b Func) int { return strings.Compare(a.Name, b.Name) }) {
		t.Errorf("%d functions, or not sorted", len(all))
	}
	for _, f := range all {
		if f.Doc == "" || f.Result == "" || len(f.Args) == 0 || strings.Count(f.Name, ".") != 1 {
			t.Errorf("%+v is incomplete", f)
		}
	}
}

// Whatever the arguments, a call returns; results are of the declared kind and made of the agreed values only.
func FuzzCall(f *testing.F) {
	for _, s := range []string{"aws", "eu-central-1", "35d", "barman", "0 3 * * *", "\xff\n", ""} {
		f.Add(s, s, 7.0)
	}
	all := Functions(nil)
	f.Fuzz(func(t *testing.T, a, b string, n float64) {
		values := []any{a, b, n, int64(n), nil, true, []any{a, n, nil}, []any{"eu"}, map[string]any{"daily": n, "last": int64(n)}, map[string]any{a: b}, struct{}{}, uint8(1)}
		for _, fn := range all {
			for i, x := range values {
				for _, args := range [][]any{nil, {x}, {a, x}, {x, b}, {a, b, x}, {x, values[(i+3)%len(values)]}} {
					got, err := fn.Call(args)
					if err != nil {
						if strings.ContainsAny(err.Error(), "\n\r\x00") || got != nil {
							t.Fatalf("%s%v = %v, %q", fn.Name, args, got, err)
						}
					} else if kindOf(got) != fn.Result {
						t.Fatalf("%s%v = %v, want a %s", fn.Name, args, got, fn.Result)
					}
				}
			}
		}
	})
}

func BenchmarkCall(b *testing.B) {
	for _, c := range []struct {
		name string
		args []any
	}{
		{"region.within", []any{"velero.io/aws", "eu-central-1", []any{"eu"}}},
		{"retention.covers", []any{"720h0m0s", "30d"}},
		{"schedule.within", []any{"0 3 * * *", "24h"}},
	} {
		for _, f := range Functions(nil) {
			if f.Name == c.name {
				b.Run(c.name, func(b *testing.B) {
					b.ReportAllocs()
					for b.Loop() {
						_, _ = f.Call(c.args)
					}
				})
			}
		}
	}
}
