// Prints what Go's archive/tar, and so a container engine, sees in each tar that is named on the command line; a line for each
// member, its texts in hexadecimal digits.
package main

import (
	"archive/tar"
	"bufio"
	"crypto/sha1"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sort"
	"strings"
)

const xattr = "SCHILY.xattr."

func kind(flag byte) string {
	switch flag {
	case tar.TypeReg:
		return "file"
	case tar.TypeDir:
		return "folder"
	case tar.TypeSymlink:
		return "symlink"
	case tar.TypeLink:
		return "hardlink"
	}
	return fmt.Sprintf("type-%02x", flag)
}

func list(out io.Writer, path string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	reader := tar.NewReader(bufio.NewReader(file))
	name := filepath.Base(path)
	for {
		header, err := reader.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		hash := sha1.New()
		size, err := io.Copy(hash, reader)
		if err != nil {
			return err
		}
		var xattrs []string
		for key, value := range header.PAXRecords {
			if strings.HasPrefix(key, xattr) {
				xattrs = append(xattrs, fmt.Sprintf("%x=%x", strings.TrimPrefix(key, xattr), value))
			}
		}
		sort.Strings(xattrs)
		fmt.Fprintf(out, "%s %s %d %o %d %d %x %x %x %s\n", name, kind(header.Typeflag), size, header.Mode&07777,
			header.Uid, header.Gid, header.Name, header.Linkname, hash.Sum(nil), strings.Join(xattrs, ","))
	}
}

func main() {
	out := bufio.NewWriter(os.Stdout)
	defer out.Flush()
	for _, path := range os.Args[1:] {
		if err := list(out, path); err != nil {
			fmt.Fprintf(out, "%s error %v\n", filepath.Base(path), err)
		}
	}
}
