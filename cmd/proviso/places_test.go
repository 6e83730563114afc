package main

import "testing"

// What stands before a file's name makes it one that can be opened from here, and holds neither options nor credentials.
func TestPlace(t *testing.T) {
	for text, want := range map[string]string{
		"copy": "copy/", "./copy/": "copy/", "../a/../copy": "../copy/", "/srv/copy": "/srv/copy/", "/": "/", "velero.tar.gz": "velero.tar.gz/",
		"s3://b": "s3://b/", "s3://b/prod/": "s3://b/prod/", "s3://b/prod?endpoint=https://minio.example&region=fra1": "s3://b/prod/",
	} {
		if got := place(text); got != want {
			t.Errorf("%s: got %s, want %s", text, got, want)
		}
	}
}

func TestBundleAsTheProfileNamesIt(t *testing.T) {
	for dir, want := range map[string]string{"policies": "./policies", "./own/policies/": "./own/policies", "../policies": "../policies", "/srv/policies": "/srv/policies"} {
		if got := bundle(dir); got != want {
			t.Errorf("%s: got %s, want %s", dir, got, want)
		}
	}
}
