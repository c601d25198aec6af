package pebble

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/cespare/xxhash/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// fileSum identifies a file's content, against accidents.
type fileSum struct {
	size int64
	sum  uint64 // XXH64
}

// A seal is a text file: a line for each file, sorted by name, then a line with the sum of these lines.
//
//	<sum, 16 hexadecimal digits> <size> <name>
//	<sum, 16 hexadecimal digits> end

// seal writes the seal of a directory that nobody writes to. sums are those of files that are known already.
func seal(d *directory, known map[string]fileSum) error {
	names, err := d.files()
	if err != nil {
		return fmt.Errorf("seal: %w", err)
	}
	var text []byte
	for _, name := range names {
		s, ok := known[name]
		if !ok {
			if s, err = sumFile(d.fs, d.file(name)); err != nil {
				return fmt.Errorf("seal: %w", err)
			}
		}
		text = fmt.Appendf(text, "%016x %d %s\n", s.sum, s.size, name)
	}
	text = fmt.Appendf(text, "%016x end\n", xxhash.Sum64(text))
	if err := writeFile(d.fs, d.path, sealFile, text); err != nil {
		return fmt.Errorf("seal: %w", err)
	}
	return nil
}

// readSeal returns the sums of the seal by name, or nil if there is none.
func readSeal(d *directory) (map[string]fileSum, error) {
	text, err := readFile(d.fs, d.file(sealFile))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, fmt.Errorf("read seal: %w", err)
	}
	const tail = 16 + len(" end\n")
	body := text[:max(0, len(text)-tail)]
	if string(text[len(body):]) != fmt.Sprintf("%016x end\n", xxhash.Sum64(body)) {
		return nil, damaged("%s", sealFile)
	}
	sums := make(map[string]fileSum)
	for line := range strings.Lines(string(body)) {
		fields := strings.SplitN(strings.TrimSuffix(line, "\n"), " ", 3)
		if len(fields) != 3 {
			return nil, damaged("%s", sealFile)
		}
		sum, err1 := strconv.ParseUint(fields[0], 16, 64)
		size, err2 := strconv.ParseInt(fields[1], 10, 64)
		if err1 != nil || err2 != nil {
			return nil, damaged("%s", sealFile)
		}
		sums[fields[2]] = fileSum{size: size, sum: sum}
	}
	return sums, nil
}

// breakSeal removes the seal, and returns the sums of files that never change once they are there. A damaged seal is only
// removed: it says nothing about what it sealed.
func breakSeal(d *directory) (map[string]fileSum, error) {
	sums, err := readSeal(d)
	if err != nil {
		sums = nil
	}
	final := make(map[string]fileSum)
	for name, s := range sums {
		if strings.HasPrefix(name, logDir+"/") || strings.HasPrefix(name, recordsDir+"/") || strings.HasSuffix(name, ".sst") {
			final[name] = s
		}
	}
	if err := d.fs.Remove(d.file(sealFile)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	return final, syncDir(d.fs, d.path)
}

// checkSeal compares the directory with its seal. It does nothing if there is none.
func checkSeal(d *directory) (sealed bool, err error) {
	sums, err := readSeal(d)
	if sums == nil {
		return false, err
	}
	names, err := d.files()
	if err != nil {
		return true, fmt.Errorf("check seal: %w", err)
	}
	for _, name := range names {
		want, ok := sums[name]
		if !ok {
			return true, damaged("%s was not there when the directory was closed", name)
		}
		delete(sums, name)
		got, err := sumFile(d.fs, d.file(name))
		if err != nil {
			return true, fmt.Errorf("check seal: %w", err)
		}
		if got != want {
			return true, damaged("%s is not as it was when the directory was closed", name)
		}
	}
	for name := range sums {
		return true, damaged("%s is missing", name)
	}
	return true, nil
}

// files returns the names of the files that a seal covers, sorted, with slashes.
func (d *directory) files() ([]string, error) {
	var names []string
	for _, dir := range []string{"", logDir + "/", stateDir + "/", recordsDir + "/", privateDir + "/"} {
		listed, err := d.fs.List(d.file(dir))
		if (dir == recordsDir+"/" || dir == privateDir+"/") && errors.Is(err, os.ErrNotExist) {
			continue // no message, or nothing private, was ever kept
		}
		if err != nil {
			return nil, err
		}
		for _, name := range listed {
			info, err := d.fs.Stat(d.file(dir + name))
			if err != nil {
				return nil, err
			}
			if !info.IsDir() && dir+name != lockFile && dir+name != sealFile && dir+name != sealFile+".new" && dir+name != stateDir+"/LOCK" {
				names = append(names, dir+name)
			}
		}
	}
	slices.Sort(names)
	return names, nil
}

func sumFile(fs vfs.FS, path string) (s fileSum, err error) {
	f, err := fs.Open(path, vfs.SequentialReadsOption)
	if err != nil {
		return s, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	digest := xxhash.New()
	s.size, err = io.CopyBuffer(digest, struct{ io.Reader }{f}, make([]byte, 1<<20))
	s.sum = digest.Sum64()
	return s, err
}
