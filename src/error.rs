//! How errors speak: every module has its own `thiserror` enum; each of them says what [`Kind`] of failure it is (which
//! becomes the exit code) and may give a hint, which the binary prints after the message.

/// What went wrong, as far as a caller in a script wants to know. The discriminant is the process's exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The build itself failed: a dependency cannot be solved, an entry point is missing, a disk is full.
    Build = 1,
    /// Wrong usage or configuration: a flag, a recipe, a reference that cannot be read.
    Usage = 2,
    /// A mirror or registry could not be reached, or refused.
    Network = 3,
    /// Something did not verify: a signature, a digest, a path that leaves the root.
    Unverified = 4,
    /// The image is larger than `--max-size`.
    TooLarge = 5,
}

/// What every error of this crate says in addition to its message.
///
/// A message states what was expected and what was found; the hint states what to do next.
pub trait Explain: std::error::Error {
    /// The kind of failure, hence the exit code.
    fn kind(&self) -> Kind;
    /// What the user can do about it, as one sentence without a full stop, or `None`.
    fn hint(&self) -> Option<String> {
        None
    }
}
