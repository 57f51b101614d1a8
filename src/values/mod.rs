//! The types of values in options, recipes and files. `FromStr` reads them from a flag, a variable or a file; `Display`
//! writes them back.
//!
//! `document` reads TOML and shows mistakes at their place; `read` has the functions that serde's `deserialize_with` names for
//! fields of these types.

mod base;
mod build;
mod command;
mod container;
mod document;
mod image;
mod read;
mod settings;

pub use base::{Base, Distribution, Release, Suite};
pub use build::{BuildCommand, BuildWish, Compression, Deps, OutputPath, Size};
pub(crate) use command::split;
pub use command::{Command, CommandError};
pub use container::{Publish, Volume};
pub use document::DocumentError;
pub(crate) use document::{Elsewhere, keys, parse_groups, parse_like};
pub use image::{Id, Pair, Port, Protocol, User, Workdir};
pub(crate) use read::{comma_list, command, list, optional, optional_command, pairs, switch_or_list, texts, value};
pub use settings::{FIXED, ImageFolder, Span, StopSignal, Timestamps};

/// A text that cannot be read as a value: what was expected, what was found.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected}, found `{found}`")]
pub struct ValueError {
    expected: String,
    found: String,
}

impl ValueError {
    pub(crate) fn new(expected: impl Into<String>, found: &str) -> Self {
        Self { expected: expected.into(), found: found.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use std::{fmt, str::FromStr};

    use proptest::prelude::*;

    use super::*;

    /// The printed results of parsing `texts`; `-` for a refused one.
    fn printed<T: FromStr<Err: fmt::Display> + fmt::Display>(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| text.parse::<T>().map_or("-".into(), |value| value.to_string())).collect()
    }

    #[test]
    fn reads_compression() {
        let texts =
            ["gzip", "gzip:1", "gzip:12", "zstd", "zstd:19", "gzip:0", "gzip:13", "zstd:23", "gzip:", "xz", "", "Gzip"];
        let read = ["gzip:6", "gzip:1", "gzip:12", "zstd:3", "zstd:19", "-", "-", "-", "-", "-", "-", "-"];
        assert_eq!(printed::<Compression>(&texts), read);
    }

    #[test]
    fn reads_ports() {
        let texts =
            ["8080", "8080/tcp", "53/udp", "1/sctp", "65535", "0", "65536", "+80", "", "80/", "80/http", "80:80"];
        let read = ["8080/tcp", "8080/tcp", "53/udp", "1/sctp", "65535/tcp", "-", "-", "-", "-", "-", "-", "-"];
        assert_eq!(printed::<Port>(&texts), read);
    }

    #[test]
    fn reads_pairs_deps_and_work_directories() {
        assert_eq!(
            printed::<Pair>(&["A=1", "A=", "A=b=c", "a.b/c=x y", "A", "=1", "A B=1", "A=\0", ""]),
            ["A=1", "A=", "A=b=c", "a.b/c=x y", "-", "-", "-", "-", "-"]
        );
        assert_eq!(printed::<Deps>(&["auto", "copy", "none", "", "Copy"]), ["auto", "copy", "none", "-", "-"]);
        assert_eq!(
            printed::<Workdir>(&["/app", "/", "//srv/./app/", "app", "", "/a/../b", "/a\nb"]),
            ["/app", "/", "/srv/app", "-", "-", "-", "-"]
        );
    }

    #[test]
    fn messages_say_what_is_there() {
        let messages = [
            "brotli".parse::<Compression>().unwrap_err(),
            "30 M".parse::<Size>().unwrap_err(),
            "fedora".parse::<Base>().unwrap_err(),
            "scratch:x".parse::<Base>().unwrap_err(),
            "3".parse::<Release>().unwrap_err(),
            "yes".parse::<Deps>().unwrap_err(),
            "a b".parse::<User>().unwrap_err(),
            "http".parse::<Port>().unwrap_err(),
            "PORT".parse::<Pair>().unwrap_err(),
            "app".parse::<Workdir>().unwrap_err(),
        ];
        insta::assert_snapshot!(messages.map(|message| message.to_string()).join("\n"));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn never_panics(text in any::<String>()) {
            let _ = (text.parse::<Compression>(), text.parse::<Size>(), text.parse::<Base>(), text.parse::<Deps>());
            let _ = (text.parse::<User>(), text.parse::<Port>(), text.parse::<Pair>(), text.parse::<Workdir>());
        }

        #[test]
        fn prints_what_it_reads(text in "[a-z0-9:/.=-]{1,12}") {
            fn same<T: FromStr<Err: fmt::Debug> + fmt::Display + PartialEq + fmt::Debug>(text: &str) {
                if let Ok(value) = text.parse::<T>() {
                    assert_eq!(value.to_string().parse::<T>().unwrap(), value);
                }
            }
            same::<Compression>(&text);
            same::<Size>(&text);
            same::<Base>(&text);
            same::<User>(&text);
            same::<Port>(&text);
            same::<Pair>(&text);
            same::<Workdir>(&text);
        }
    }
}
