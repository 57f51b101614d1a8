//! Packages in memory, for unit tests.

use std::{fmt::Write as _, io::Write as _};

use flate2::{Compression, write::GzEncoder};

use super::{Package, PackageError, verify};
use crate::{
    apk::{
        checksum::Checksum,
        index::{self, Record},
    },
    digest::Digest,
    package::locked::Selection,
    rootfs::alpine::Installed,
    store::BlobDir,
};

/// A package in the making: `Draft::new("a").file("usr/bin/a", "…")`.
pub(crate) struct Draft {
    name: String,
    info: String,
    scripts: Vec<(&'static str, String)>,
    data: tar::Builder<Vec<u8>>,
    owner: (u64, u64),
    owner_names: (&'static str, &'static str),
    mode: Option<u32>,
    installed_size: u64,
}

impl Draft {
    /// The empty package `name`, version 1-r0.
    pub(crate) fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            info: String::new(),
            scripts: Vec::new(),
            data: tar::Builder::new(Vec::new()),
            owner: (0, 0),
            owner_names: ("root", "root"),
            mode: None,
            installed_size: 1 << 20,
        }
    }

    /// A line of `.PKGINFO`.
    pub(crate) fn info(mut self, key: &str, value: &str) -> Self {
        writeln!(self.info, "{key} = {value}").expect("memory");
        self
    }

    pub(crate) fn script(mut self, kind: &'static str, text: &str) -> Self {
        self.scripts.push((kind, text.to_owned()));
        self
    }

    /// Mode of the next member.
    pub(crate) fn mode(mut self, mode: u32) -> Self {
        self.mode = Some(mode);
        self
    }

    /// Owner and group of all further members.
    pub(crate) fn owner(mut self, ids: (u64, u64), names: (&'static str, &'static str)) -> Self {
        (self.owner, self.owner_names) = (ids, names);
        self
    }

    /// A PAX record of the next member.
    pub(crate) fn pax(mut self, key: &str, value: &[u8]) -> Self {
        self.data.append_pax_extensions([(key, value)]).expect("memory");
        self
    }

    fn header(&mut self, kind: tar::EntryType, mode: u32, size: u64) -> tar::Header {
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(kind);
        header.set_mode(self.mode.take().unwrap_or(mode));
        header.set_uid(self.owner.0);
        header.set_gid(self.owner.1);
        header.set_username(self.owner_names.0).expect("short");
        header.set_groupname(self.owner_names.1).expect("short");
        header.set_mtime(0);
        header.set_size(size);
        header
    }

    pub(crate) fn dir(mut self, path: &str) -> Self {
        let mut header = self.header(tar::EntryType::Directory, 0o755, 0);
        self.data.append_data(&mut header, format!("{path}/"), std::io::empty()).expect("memory");
        self
    }

    pub(crate) fn file(mut self, path: &str, content: impl AsRef<[u8]>) -> Self {
        let content = content.as_ref();
        let mut header = self.header(tar::EntryType::Regular, 0o644, content.len() as u64);
        self.data.append_data(&mut header, path, content).expect("memory");
        self
    }

    pub(crate) fn link(mut self, kind: tar::EntryType, path: &str, target: &str) -> Self {
        let mut header = self.header(kind, 0o777, 0);
        header.set_link_name_literal(target).expect("short");
        self.data.append_data(&mut header, path, std::io::empty()).expect("memory");
        self
    }

    pub(crate) fn symlink(self, path: &str, target: &str) -> Self {
        self.link(tar::EntryType::Symlink, path, target)
    }

    pub(crate) fn hardlink(self, path: &str, target: &str) -> Self {
        self.mode(0o644).link(tar::EntryType::Link, path, target)
    }

    /// The file, and the index's record of it.
    pub(crate) fn finish(self) -> (Vec<u8>, Record) {
        let data = gzip(&self.data.into_inner().expect("memory"));
        let info =
            format!("pkgname = {}\npkgver = 1-r0\n{}datahash = {}\n", self.name, self.info, Digest::of(&data).hex());
        let mut control = tar::Builder::new(Vec::new());
        let mut add = |name: &str, text: &str| {
            let mut header = tar::Header::new_ustar();
            header.set_mode(0o755);
            header.set_size(text.len() as u64);
            control.append_data(&mut header, name, text.as_bytes()).expect("memory");
        };
        add(".PKGINFO", &info);
        self.scripts.iter().for_each(|(kind, text)| add(&format!(".{kind}"), text));
        let control = gzip(&control.into_inner().expect("memory"));
        let sha1 = ring::digest::digest(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY, &control);
        let checksum = Checksum::Sha1(sha1.as_ref().try_into().expect("20 bytes"));
        let (name, size) = (&self.name, control.len() + data.len());
        let installed = self.installed_size;
        let record =
            format!("C:{checksum}\nP:{name}\nV:1-r0\nA:x86_64\nS:{size}\nI:{installed}\nT:-\nU:-\nL:-\no:{name}\n\n");
        let record = index::parse(&record).expect("a record").records.pop().expect("one");
        ([control, data].concat(), record)
    }

    /// What `verify` says of it.
    pub(crate) fn verify(self, blobs: &BlobDir) -> Result<Package, PackageError> {
        let (bytes, record) = self.finish();
        verify(&bytes[..], &record, blobs)
    }

    /// The package as it would be installed.
    pub(crate) fn installed(self, blobs: &BlobDir) -> Installed {
        let (bytes, record) = self.finish();
        let package = verify(&bytes[..], &record, blobs).expect("a good package");
        Installed { record, package, selection: Selection::default() }
    }
}

/// One gzip stream.
pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).and_then(|()| encoder.finish()).expect("memory")
}
