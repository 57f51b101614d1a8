//! The archives' common part: a tar whose bytes depend on its contents only, streamed to its place.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, BufWriter, Read, Write},
    path::{Path, PathBuf},
};

use super::SinkError;
use crate::{
    digest::{Digest, Hashing},
    layer::Layer,
    layout::{LayoutError, copy_layer},
    store::shared_file,
    ui::{Task, Ui},
};

/// The largest file whose length fits in the eleven octal digits of a ustar header.
const USTAR_MAX: u64 = 0o777_7777_7777;

/// The contents of a file of the archive.
pub(super) enum File<'a> {
    /// In memory.
    Bytes(Vec<u8>),
    /// A layer's blob as it is.
    Blob(&'a Layer),
    /// A layer's tar, decompressed on the way; its length is known already.
    Tar(&'a Layer, u64),
}

/// A tar's files by path. Sorted: each folder comes before what is in it.
pub(super) type Files<'a> = BTreeMap<String, File<'a>>;

/// Where the blob of this digest lies in a layout.
pub(super) fn blob_path(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

/// Writes the tar of `files` to `out`; `path` is for messages.
///
/// # Errors
/// When `out` fails, or a layer cannot be read or is not what its digest says.
pub(super) fn write_tar(out: impl Write, path: &Path, files: &Files<'_>, ui: &Ui) -> Result<(), SinkError> {
    let mut out = BufWriter::with_capacity(128 * 1024, out);
    let mut seen = None;
    for (name, file) in files {
        let folders = name.match_indices('/').map(|(end, _)| &name[..=end]);
        for folder in folders.filter(|folder| seen.is_none_or(|before: &String| !before.starts_with(folder))) {
            write_header(&mut out, folder, 0).map_err(SinkError::write(path))?;
        }
        seen = Some(name);
        let size = match file {
            File::Bytes(bytes) => bytes.len() as u64,
            File::Blob(layer) => layer.size,
            File::Tar(_, size) => *size,
        };
        write_header(&mut out, name, size).map_err(SinkError::write(path))?;
        match file {
            File::Bytes(bytes) => out.write_all(bytes).map_err(SinkError::write(path))?,
            File::Blob(layer) => write_blob(&mut out, path, layer, &ui.task(&layer.title, Some(size)))?,
            File::Tar(layer, size) => {
                write_inflated(&mut out, path, layer, *size, &ui.task(&layer.title, Some(*size)))?;
            }
        }
        let padding = size.next_multiple_of(512) - size;
        io::copy(&mut io::repeat(0).take(padding), &mut out).map_err(SinkError::write(path))?;
    }
    out.write_all(&[0; 1024]).and_then(|()| out.flush()).map_err(SinkError::write(path))
}

/// A header of time 0 and owner 0; a folder's name ends in a slash.
fn write_header(out: &mut impl Write, name: &str, size: u64) -> io::Result<()> {
    if size > USTAR_MAX {
        // A record of a pax header ("length key=value\n", its own length included) holds what ustar cannot.
        let record = pax_record("size", &size.to_string());
        let mut header = header(name, record.len() as u64)?;
        header.set_entry_type(tar::EntryType::XHeader);
        header.set_cksum();
        out.write_all(header.as_bytes())?;
        out.write_all(record.as_bytes())?;
        out.write_all(&vec![0; record.len().next_multiple_of(512) - record.len()])?;
    }
    let mut header = header(name, if size > USTAR_MAX { 0 } else { size })?;
    header.set_cksum();
    out.write_all(header.as_bytes())
}

fn header(name: &str, size: u64) -> io::Result<tar::Header> {
    let mut header = tar::Header::new_ustar();
    header.set_path(name)?;
    let folder = name.ends_with('/');
    header.set_entry_type(if folder { tar::EntryType::Directory } else { tar::EntryType::Regular });
    header.set_mode(if folder { 0o755 } else { 0o644 });
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(size);
    Ok(header)
}

fn pax_record(key: &str, value: &str) -> String {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    format!("{length} {key}={value}\n")
}

fn write_blob(out: &mut impl Write, path: &Path, layer: &Layer, task: &Task) -> Result<(), SinkError> {
    let mut hashing = Hashing::new(out);
    copy_layer(layer, &mut hashing, task, SinkError::write(path))?;
    let (found, ..) = hashing.finish();
    check(layer, layer.digest, found)
}

fn write_inflated(out: &mut impl Write, path: &Path, layer: &Layer, size: u64, task: &Task) -> Result<(), SinkError> {
    let mut from = Hashing::new(inflate(layer)?.take(size));
    let mut buffer = vec![0; 128 * 1024];
    loop {
        let n = from.read(&mut buffer).map_err(unreadable(layer))?;
        if n == 0 {
            let (found, ..) = from.finish();
            return check(layer, layer.diff_id, found);
        }
        out.write_all(&buffer[..n]).map_err(SinkError::write(path))?;
        task.inc(n as u64);
    }
}

/// The length of the tar in a zstd layer, which is read and checked for it.
///
/// # Errors
/// When the layer cannot be read or has another diff_id.
pub(super) fn inflated_size(layer: &Layer) -> Result<u64, SinkError> {
    let mut hashing = Hashing::new(io::sink());
    let size = io::copy(&mut inflate(layer)?, &mut hashing).map_err(unreadable(layer))?;
    let (found, ..) = hashing.finish();
    check(layer, layer.diff_id, found)?;
    Ok(size)
}

fn inflate(layer: &Layer) -> Result<impl Read, SinkError> {
    let open = || zstd::Decoder::new(layer.content.open()?);
    Ok(open().map_err(unreadable(layer))?)
}

fn unreadable(layer: &Layer) -> impl Fn(io::Error) -> LayoutError {
    |source| LayoutError::Content { title: layer.title.clone(), digest: layer.digest, source }
}

fn check(layer: &Layer, expected: Digest, found: Digest) -> Result<(), SinkError> {
    if expected == found {
        return Ok(());
    }
    Err(SinkError::Digest { title: layer.title.clone(), expected, found })
}

/// Writes the file `path` by `fill`, as a whole: until that succeeds, what was there stays. A pipe or device is written
/// to directly.
///
/// # Errors
/// When the file cannot be made or renamed, and those of `fill`.
pub(super) fn replace(
    path: &Path,
    fill: impl FnOnce(&mut dyn Write) -> Result<(), SinkError>,
) -> Result<(), SinkError> {
    // What a link leads to is replaced, not the link.
    let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    match fs::metadata(&target) {
        Ok(meta) if meta.is_dir() => return Err(SinkError::write(path)(io::ErrorKind::IsADirectory.into())),
        Ok(meta) if !meta.is_file() => {
            let mut device = fs::File::options().write(true).open(&target).map_err(SinkError::write(path))?;
            return fill(&mut device);
        }
        _ => {}
    }
    let folder = target.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if !folder.is_dir() {
        let why = io::Error::new(io::ErrorKind::NotFound, "its folder does not exist");
        return Err(SinkError::write(path)(why));
    }
    let prefix = target.file_name().map_or_else(PathBuf::new, PathBuf::from);
    let mut file = shared_file(&format!(".{}-", prefix.display()), folder).map_err(SinkError::write(path))?;
    fill(file.as_file_mut())?;
    file.as_file().sync_data().map_err(SinkError::write(path))?;
    file.persist(&target).map_err(|e| SinkError::write(path)(e.error))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pax_record_counts_itself() {
        assert_eq!(pax_record("size", "8589934592"), "19 size=8589934592\n");
        assert_eq!(pax_record("k", "v"), "6 k=v\n");
        // "9 " and seven more would be ten with the second digit.
        assert_eq!(pax_record("ke", "val"), "9 ke=val\n");
        assert_eq!(pax_record("key", "val"), "11 key=val\n");
    }

    #[test]
    fn more_than_eight_gibibytes_are_announced_by_pax() {
        let mut bytes = Vec::new();
        write_header(&mut bytes, "blobs/big", USTAR_MAX + 1).expect("memory");
        let mut archive = tar::Archive::new(io::Cursor::new(bytes));
        let entry = archive.entries().expect("entries").next().expect("one").expect("readable");
        assert_eq!(entry.size(), 8 * 1024 * 1024 * 1024);
    }
}
