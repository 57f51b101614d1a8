//! Packages in memory, for unit tests.

use std::io::Write as _;

use super::{Package, PackageError, verify};
use crate::{
    deb::{control::paragraphs, record::Record},
    digest::Digest,
    package::{Packing, locked::Selection},
    rootfs::debian::Installed,
    store::BlobDir,
};

/// A package in the making: `Draft::new("a").file("usr/bin/a", "…")`.
pub(crate) struct Draft {
    name: String,
    packing: Packing,
    control: tar::Builder<Vec<u8>>,
    data: tar::Builder<Vec<u8>>,
    mode: Option<u32>,
    fields: String,
    installed_size: u64,
    before_data: Vec<u8>,
}

impl Draft {
    /// The empty package `name`, version 1-1.
    pub(crate) fn new(name: &str) -> Self {
        let draft = Self {
            name: name.to_owned(),
            packing: Packing::Xz,
            control: tar::Builder::new(Vec::new()),
            data: tar::Builder::new(Vec::new()),
            mode: None,
            fields: String::new(),
            installed_size: 1024,
            before_data: Vec::new(),
        };
        draft.raw(tar::EntryType::Directory, "./", "", b"")
    }

    pub(crate) fn packing(self, packing: Packing) -> Self {
        Self { packing, ..self }
    }

    /// In KiB.
    pub(crate) fn installed_size(self, installed_size: u64) -> Self {
        Self { installed_size, ..self }
    }

    /// Further lines of its paragraph.
    pub(crate) fn fields(self, fields: &str) -> Self {
        Self { fields: format!("{fields}\n"), ..self }
    }

    /// A file of the control member.
    pub(crate) fn control(mut self, name: &str, text: &str) -> Self {
        let mut header = header(tar::EntryType::Regular, 0o755, text.len() as u64);
        self.control.append_data(&mut header, format!("./{name}"), text.as_bytes()).expect("memory");
        self
    }

    /// Mode of the next member.
    pub(crate) fn mode(mut self, mode: u32) -> Self {
        self.mode = Some(mode);
        self
    }

    /// A member of the data tar, with any path.
    pub(crate) fn raw(mut self, kind: tar::EntryType, path: &str, target: &str, content: &[u8]) -> Self {
        let mode = self.mode.take().unwrap_or(if kind.is_file() { 0o644 } else { 0o755 });
        let mut header = header(kind, mode, content.len() as u64);
        // The crate cleans paths when it sets them.
        header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
        header.as_old_mut().linkname[..target.len()].copy_from_slice(target.as_bytes());
        header.set_cksum();
        self.data.append(&header, content).expect("memory");
        self
    }

    pub(crate) fn dir(self, path: &str) -> Self {
        self.raw(tar::EntryType::Directory, &format!("./{path}/"), "", b"")
    }

    pub(crate) fn file(self, path: &str, content: impl AsRef<[u8]>) -> Self {
        self.raw(tar::EntryType::Regular, &format!("./{path}"), "", content.as_ref())
    }

    pub(crate) fn symlink(self, path: &str, target: &str) -> Self {
        self.raw(tar::EntryType::Symlink, &format!("./{path}"), target, b"")
    }

    pub(crate) fn hardlink(self, path: &str, target: &str) -> Self {
        self.raw(tar::EntryType::Link, &format!("./{path}"), &format!("./{target}"), b"")
    }

    /// A member of the archive before the data.
    pub(crate) fn before_data(mut self, name: &str, content: &[u8]) -> Self {
        self.before_data = ar(name, content);
        self
    }

    fn paragraph(&self) -> String {
        format!("Package: {}\nVersion: 1-1\nArchitecture: amd64\n{}", self.name, self.fields)
    }

    /// The file, and the index's record of it.
    pub(crate) fn finish(self) -> (Vec<u8>, Record) {
        let paragraph = self.paragraph();
        let end = self.packing.extension();
        let before = self.before_data.clone();
        let (name, packing, installed, fields) =
            (self.name.clone(), self.packing, self.installed_size, self.fields.clone());
        let Self { control, data, .. } = self.control("control", &paragraph);
        let control = pack(packing, &control.into_inner().expect("memory"));
        let data = pack(packing, &data.into_inner().expect("memory"));
        let bytes = [
            b"!<arch>\n".to_vec(),
            ar("debian-binary", b"2.0\n"),
            ar(&format!("control.tar{end}"), &control),
            before,
            ar(&format!("data.tar{end}"), &data),
        ]
        .concat();
        let record = record_with(&name, &bytes, installed, &fields);
        (bytes, record)
    }

    /// What `verify` says of it.
    pub(crate) fn verify(self, blobs: &BlobDir) -> Result<Package, PackageError> {
        let (bytes, record) = self.finish();
        verify(&bytes[..], &record, blobs)
    }

    /// The same with its record, as a root filesystem takes it.
    pub(crate) fn installed(self, blobs: &BlobDir) -> Installed {
        let (bytes, record) = self.finish();
        let package = verify(&bytes[..], &record, blobs).expect("a package");
        Installed { record, package, selection: Selection::default() }
    }
}

/// The record of a file of the package `name`, version 1-1.
pub(crate) fn record(name: &str, bytes: &[u8], installed: u64) -> Record {
    record_with(name, bytes, installed, "")
}

fn record_with(name: &str, bytes: &[u8], installed: u64, fields: &str) -> Record {
    let (size, hash) = (bytes.len(), Digest::of(bytes).hex());
    let text = format!(
        "Package: {name}\nVersion: 1-1\nArchitecture: amd64\nInstalled-Size: {installed}\nFilename: pool/{name}.deb\n\
         Size: {size}\nSHA256: {hash}\n{fields}"
    );
    Record::parse(&paragraphs(&text).next().expect("a paragraph")).expect("a record")
}

fn header(kind: tar::EntryType, mode: u32, size: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_username("root").expect("short");
    header.set_groupname("root").expect("short");
    header.set_mtime(0);
    header.set_size(size);
    header
}

/// A member of an ar archive.
pub(crate) fn ar(name: &str, content: &[u8]) -> Vec<u8> {
    let header = format!("{name:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`\n", 0, 0, 0, 100_644, content.len());
    let padding = if content.len() % 2 == 1 { "\n" } else { "" };
    [header.as_bytes(), content, padding.as_bytes()].concat()
}

/// The bytes, packed.
pub(crate) fn pack(packing: Packing, bytes: &[u8]) -> Vec<u8> {
    match packing {
        Packing::Xz => {
            let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 0);
            encoder.write_all(bytes).and_then(|()| encoder.finish()).expect("memory")
        }
        Packing::Zstd => zstd::encode_all(bytes, 1).expect("memory"),
        Packing::Gzip => crate::apk::package::testing::gzip(bytes),
        Packing::Plain => bytes.to_vec(),
    }
}
