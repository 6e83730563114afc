package velero

import (
	"errors"
	"fmt"
)

// Limits bound what one backup may cost, because its bytes may be a stranger's. A field that is zero or less stands for
// its default. What goes past a limit is reported as "refused: limit …", never cut to size.
type Limits struct {
	// Total is how many bytes a tarball may hold once decompressed: 256 GiB.
	Total int64
	// Ratio is how many bytes one compressed byte may turn into, over any 16 MiB of a file: 100. Velero's own make about 9.
	Ratio int64
	// Entries is how many entries a tarball may hold: 8,000,000.
	Entries int
	// Entry is how many bytes one entry may hold: 8 MiB. etcd takes objects of 1.5 MiB.
	Entry int64
	// Name is how many bytes the name of an entry may have: 1 KiB.
	Name int
	// Header is how many bytes the extended headers of one entry may have: 64 KiB.
	Header int
	// Members is how many gzip streams may follow each other in one file: 64. Velero writes one.
	Members int
	// Index is how many bytes the names of a tarball's entries may have together: 512 MiB.
	Index int64
	// Small is how many bytes each of the files beside the tarball may hold once decompressed: 64 MiB; the logs and the
	// resource lists, which are read as they stream, sixteen times that.
	Small int64
	// Elements is how many elements a list in a file beside the tarball may hold: 200,000.
	Elements int
	// Files is how many files a backup's or restore's folder may hold: 1,000.
	Files int
	// Folders is how many backups and restores one store may hold: 100,000.
	Folders int
	// Facts is how many bytes of the objects of one backup are kept for answering facts: 8 MiB.
	Facts int64
}

func (l Limits) orDefault() Limits {
	or := func(v *int64, d int64) {
		if *v <= 0 {
			*v = d
		}
	}
	orInt := func(v *int, d int) {
		if *v <= 0 {
			*v = d
		}
	}
	or(&l.Total, 256<<30)
	or(&l.Ratio, 100)
	orInt(&l.Entries, 8_000_000)
	or(&l.Entry, 8<<20)
	orInt(&l.Name, 1<<10)
	orInt(&l.Header, 64<<10)
	orInt(&l.Members, 64)
	or(&l.Index, 512<<20)
	or(&l.Small, 64<<20)
	orInt(&l.Elements, 200_000)
	orInt(&l.Files, 1000)
	orInt(&l.Folders, 100_000)
	or(&l.Facts, 8<<20)
	return l
}

// errLimit is wrapped by everything that a limit refuses.
var errLimit = errors.New("refused")

func refuse(format string, args ...any) error {
	return fmt.Errorf("%w: limit %s", errLimit, fmt.Sprintf(format, args...))
}
