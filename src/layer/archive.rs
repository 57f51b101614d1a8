//! The tar of a layer, with nothing in its headers that a machine, a user or a clock could change.

use std::{
    collections::BTreeMap,
    io::{self, Read, Write},
};

use crate::media::XATTR;

/// Mode and owner of a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Meta {
    /// Permission bits, with setuid, setgid and sticky.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

impl Meta {
    /// A file or folder of root's.
    pub fn root(mode: u32) -> Self {
        Self { mode, uid: 0, gid: 0 }
    }
}

/// Writes a layer's tar into `W`.
pub struct Archive<W: Write> {
    tar: tar::Builder<W>,
    epoch: u64,
}

impl<W: Write> Archive<W> {
    /// An archive whose members were all changed at `epoch`, seconds since 1970, unless [`Archive::set_time`] says
    /// otherwise.
    pub fn new(out: W, epoch: u64) -> Self {
        Self { tar: tar::Builder::new(out), epoch }
    }

    /// Sets the time at which the members that follow were changed, seconds since 1970; the one before.
    pub fn set_time(&mut self, epoch: u64) -> u64 {
        std::mem::replace(&mut self.epoch, epoch)
    }

    /// Ends the archive.
    ///
    /// # Errors
    /// When `W` cannot be written; likewise everywhere below.
    pub fn finish(self) -> io::Result<W> {
        self.tar.into_inner()
    }

    /// A folder.
    ///
    /// # Errors
    /// See [`finish`](Self::finish).
    pub fn directory(&mut self, path: &str, meta: Meta) -> io::Result<()> {
        let mut header = self.header(tar::EntryType::Directory, meta, 0);
        self.tar.append_data(&mut header, format!("{path}/"), io::empty())
    }

    /// A symbolic link.
    ///
    /// # Errors
    /// See [`finish`](Self::finish).
    pub fn symlink(&mut self, path: &str, target: &str, meta: Meta) -> io::Result<()> {
        let mut header = self.header(tar::EntryType::Symlink, Meta { mode: 0o777, ..meta }, 0);
        self.link(&mut header, path, target)
    }

    /// Another name of the file `target`, a path of this archive.
    ///
    /// # Errors
    /// See [`finish`](Self::finish).
    pub fn hard_link(&mut self, path: &str, target: &str, meta: Meta) -> io::Result<()> {
        let mut header = self.header(tar::EntryType::Link, meta, 0);
        self.link(&mut header, path, target)
    }

    fn link(&mut self, header: &mut tar::Header, path: &str, target: &str) -> io::Result<()> {
        // `append_link` would clean the target as a path of this machine; its bytes are what counts.
        if target.len() <= 100 {
            header.set_link_name_literal(target)?;
            self.tar.append_data(header, path, io::empty())
        } else {
            self.tar.append_link(header, path, target)
        }
    }

    /// A file of `size` bytes.
    ///
    /// # Errors
    /// When `content` has fewer or more bytes than that; see [`finish`](Self::finish).
    pub fn file(
        &mut self,
        path: &str,
        meta: Meta,
        xattrs: &BTreeMap<String, Vec<u8>>,
        size: u64,
        content: &mut dyn Read,
    ) -> io::Result<()> {
        if !xattrs.is_empty() {
            let records: Vec<_> = xattrs.iter().map(|(name, value)| (format!("{XATTR}{name}"), value)).collect();
            self.tar.append_pax_extensions(records.iter().map(|(name, value)| (name.as_str(), value.as_slice())))?;
        }
        let mut header = self.header(tar::EntryType::Regular, meta, size);
        let mut counted = content.take(size + 1);
        self.tar.append_data(&mut header, path, &mut Exactly { inner: &mut counted, left: size })
    }

    fn header(&self, kind: tar::EntryType, meta: Meta, size: u64) -> tar::Header {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(meta.mode);
        header.set_uid(meta.uid.into());
        header.set_gid(meta.gid.into());
        header.set_mtime(self.epoch);
        header.set_size(size);
        header
    }
}

/// Reads exactly as many bytes as a header has promised, and fails where there are fewer or more.
struct Exactly<'a> {
    inner: &'a mut dyn Read,
    left: u64,
}

impl Read for Exactly<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buf)? as u64;
        if (n == 0 && self.left > 0 && !buf.is_empty()) || n > self.left {
            return Err(io::Error::other("its size changed while it was read"));
        }
        self.left -= n;
        Ok(usize::try_from(n).unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(f: impl FnOnce(&mut Archive<Vec<u8>>) -> io::Result<()>) -> io::Result<Vec<u8>> {
        let mut archive = Archive::new(Vec::new(), 7);
        f(&mut archive)?;
        archive.finish()
    }

    #[test]
    fn members_are_read_back() {
        let long = "d/".repeat(150) + "end";
        let xattrs = BTreeMap::from([("security.capability".to_owned(), vec![1, 0, 2])]);
        let bytes = write(|archive| {
            archive.directory("usr", Meta::root(0o755))?;
            archive.file("usr/a", Meta { mode: 0o4755, uid: 1, gid: 3_000_000_000 }, &xattrs, 3, &mut &b"abc"[..])?;
            archive.hard_link("usr/b", "usr/a", Meta::root(0o4755))?;
            archive.symlink("usr/c", "../../x//y/", Meta::root(0o777))?;
            archive.symlink("usr/d", &long, Meta::root(0o777))?;
            archive.file(&long, Meta::root(0o644), &BTreeMap::new(), 0, &mut io::empty())
        })
        .expect("memory");
        let mut archive = tar::Archive::new(&bytes[..]);
        let members: Vec<_> = archive
            .entries()
            .expect("an archive")
            .map(|entry| {
                let mut entry = entry.expect("a member");
                let header = entry.header().clone();
                let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
                let link = entry.link_name_bytes().map(|l| String::from_utf8_lossy(&l).into_owned());
                let pax = entry.pax_extensions().expect("pax").map_or(0, Iterator::count);
                assert_eq!(header.mtime().expect("time"), 7);
                (path, header.mode().expect("mode"), header.gid().expect("gid"), link, pax)
            })
            .collect();
        let expected = [
            ("usr/".to_owned(), 0o755, 0, None, 0),
            ("usr/a".to_owned(), 0o4755, 3_000_000_000, None, 1),
            ("usr/b".to_owned(), 0o4755, 0, Some("usr/a".to_owned()), 0),
            ("usr/c".to_owned(), 0o777, 0, Some("../../x//y/".to_owned()), 0),
            ("usr/d".to_owned(), 0o777, 0, Some(long.clone()), 0),
            (long, 0o644, 0, None, 0),
        ];
        assert_eq!(members, expected);
    }

    #[test]
    fn a_file_that_changed_its_size_is_an_error() {
        for content in [&b"ab"[..], b"abcd"] {
            let written = write(|a| a.file("f", Meta::root(0o644), &BTreeMap::new(), 3, &mut &*content));
            assert!(written.is_err(), "{content:?}");
        }
    }
}
