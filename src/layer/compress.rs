//! Compression of layers: on all processors, and the same bytes on any number of them.
//!
//! The tar is cut into blocks of a fixed length; each becomes a gzip member (RFC 1952) or a zstd frame (RFC 8878) of
//! its own, and both formats define the concatenation of these as the concatenation of their contents. How many threads
//! compress them makes no difference to the bytes.

use std::io::{self, Write};

use rayon::prelude::*;

use crate::media::{GZIP, ZSTD};
pub use crate::values::Compression;

/// Bytes of tar in a gzip member: 1 MiB costs less than one part in a thousand against a single member.
const GZIP_BLOCK: usize = 1 << 20;
/// Bytes of tar in a zstd frame: its window is larger, so are its blocks.
const ZSTD_BLOCK: usize = 4 << 20;
/// Bytes of tar that are held in memory at most, however many processors there are.
const IN_FLIGHT: usize = 24 << 20;

impl Compression {
    /// The media type of a layer compressed so.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Gzip(_) => GZIP,
            Self::Zstd(_) => ZSTD,
        }
    }

    /// Names codec, its version and its level: all that the compressed bytes depend on, except their content. Part of
    /// the key of every memo of a digest. The versions are those that Cargo.toml pins.
    pub fn id(self) -> String {
        match self {
            Self::Gzip(level) => format!("gzip:{level}/libdeflater-1.26.1/{GZIP_BLOCK}"),
            Self::Zstd(level) => format!("zstd:{level}/zstd-0.14.4/{ZSTD_BLOCK}"),
        }
    }

    fn block(self) -> usize {
        match self {
            Self::Gzip(_) => GZIP_BLOCK,
            Self::Zstd(_) => ZSTD_BLOCK,
        }
    }

    /// Compresses `tar` into `packed`, whose content is replaced and whose memory is used again.
    fn compress(self, tar: &[u8], packed: &mut Vec<u8>) -> io::Result<()> {
        let size = match self {
            Self::Gzip(level) => {
                let level = libdeflater::CompressionLvl::new(level.into()).unwrap_or_default();
                let mut codec = libdeflater::Compressor::new(level);
                packed.resize(codec.gzip_compress_bound(tar.len()), 0);
                codec.gzip_compress(tar, packed).map_err(io::Error::other)?
            }
            Self::Zstd(level) => {
                packed.resize(zstd::zstd_safe::compress_bound(tar.len()), 0);
                zstd::bulk::compress_to_buffer(tar, &mut packed[..], level.into())?
            }
        };
        packed.truncate(size);
        Ok(())
    }
}

/// A piece of the tar and what becomes of it. Both keep their memory from one use to the next: given back and taken
/// anew on every thread, it would stay in the allocator many times over.
#[derive(Default)]
struct Block {
    tar: Vec<u8>,
    packed: Vec<u8>,
}

/// A writer that compresses what is written to it into `out`.
pub struct Compressor<W> {
    out: W,
    compression: Compression,
    blocks: Vec<Block>,
    /// How many of the blocks are full; the one behind them is being filled.
    full: usize,
    wrote: bool,
}

impl<W: Write> Compressor<W> {
    /// Compresses into `out`.
    pub fn new(compression: Compression, out: W) -> Self {
        Self { out, compression, blocks: vec![Block::default()], full: 0, wrote: false }
    }

    /// Writes what is left, and gives `out` back.
    ///
    /// # Errors
    /// When `out` cannot be written.
    pub fn finish(mut self) -> io::Result<W> {
        // Nothing at all becomes one empty member, so that there is something to unpack.
        if !self.blocks[self.full].tar.is_empty() || (self.full == 0 && !self.wrote) {
            self.full += 1;
        }
        self.compress_full()?;
        Ok(self.out)
    }

    fn compress_full(&mut self) -> io::Result<()> {
        let compression = self.compression;
        let full = &mut self.blocks[..self.full];
        full.par_iter_mut().try_for_each(|block| compression.compress(&block.tar, &mut block.packed))?;
        for block in full {
            self.out.write_all(&block.packed)?;
            block.tar.clear();
            self.wrote = true;
        }
        self.full = 0;
        Ok(())
    }
}

impl<W: Write> Write for Compressor<W> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let size = self.compression.block();
        let block = &mut self.blocks[self.full].tar;
        let n = buf.len().min(size - block.len());
        block.extend_from_slice(&buf[..n]);
        if block.len() == size {
            self.full += 1;
            if self.full == self.blocks.len() {
                self.blocks.push(Block::default());
            }
            // Two blocks a thread keep all of them busy.
            if self.full >= (2 * rayon::current_num_threads()).min(IN_FLIGHT / size) {
                self.compress_full()?;
            }
        }
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    fn compressed(compression: Compression, content: &[u8]) -> Vec<u8> {
        let mut writer = Compressor::new(compression, Vec::new());
        // In odd pieces, as a tar comes.
        for piece in content.chunks(77_777) {
            writer.write_all(piece).expect("memory");
        }
        writer.finish().expect("memory")
    }

    fn noise(len: usize) -> Vec<u8> {
        let mut state = 1_u32;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8 & 0x3f
        };
        (0..len).map(|_| next()).collect()
    }

    #[test]
    fn what_is_compressed_is_read_back() {
        for len in [0, 1, GZIP_BLOCK - 1, GZIP_BLOCK, GZIP_BLOCK + 1, 5 * GZIP_BLOCK + 3] {
            let content = noise(len);
            let mut gzip = Vec::new();
            let packed = compressed(Compression::default(), &content);
            flate2::read::MultiGzDecoder::new(&packed[..]).read_to_end(&mut gzip).expect("gzip");
            assert!(gzip == content, "gzip of {len} bytes");
            let packed = compressed(Compression::Zstd(3), &content);
            assert!(zstd::decode_all(&packed[..]).expect("zstd") == content, "zstd of {len} bytes");
        }
    }

    #[test]
    fn a_full_disk_is_an_error_each_time() {
        struct Full;
        impl Write for Full {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::StorageFull.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        // The writer of a tar writes its end even after an error.
        let mut writer = Compressor::new(Compression::default(), Full);
        let block = vec![0; GZIP_BLOCK];
        let failed = (0..100).filter(|_| writer.write_all(&block).is_err()).count();
        assert!(failed > 0);
        assert!(writer.finish().is_err());
    }

    #[test]
    fn the_number_of_threads_does_not_matter() {
        let content = noise(9 * GZIP_BLOCK + 5);
        for compression in [Compression::default(), Compression::Zstd(3)] {
            let with = |threads| {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
                pool.install(|| compressed(compression, &content))
            };
            assert!(with(1) == with(3), "{compression:?}");
        }
    }
}
