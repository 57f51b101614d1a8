//! Functions with which serde reads values in TOML: through their `FromStr`, one or a list, with or without quotes.

use std::{collections::BTreeMap, fmt, marker::PhantomData, str::FromStr};

use serde::{
    Deserialize, Deserializer,
    de::{Error as _, MapAccess, SeqAccess, Unexpected, Visitor},
};

/// A single value that is written as text, or as a number or boolean which has the same text: `8080` for `"8080"`.
struct Scalar<T>(PhantomData<T>);

macro_rules! visit_text_of {
    ($($method:ident: $type:ty),*) => {$(
        fn $method<E: serde::de::Error>(self, value: $type) -> Result<T, E> {
            self.visit_str(&value.to_string())
        }
    )*};
}

impl<T: FromStr<Err: fmt::Display>> Visitor<'_> for Scalar<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(E::custom)
    }

    visit_text_of!(visit_bool: bool, visit_i64: i64, visit_u64: u64, visit_f64: f64);
}

struct Item<T>(T);

impl<'de, T: FromStr<Err: fmt::Display>> Deserialize<'de> for Item<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Scalar(PhantomData)).map(Self)
    }
}

/// One value, through its `FromStr`.
pub(crate) fn value<'de, T: FromStr<Err: fmt::Display>, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    Item::deserialize(deserializer).map(|item| item.0)
}

/// One value, through its `FromStr`, for a key that may be absent.
pub(crate) fn optional<'de, T: FromStr<Err: fmt::Display>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    value(deserializer).map(Some)
}

/// A list of values; a single one need not stand in brackets.
pub(crate) fn list<'de, T: FromStr<Err: fmt::Display>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<T>, D::Error> {
    separated(deserializer, None, false)
}

/// As [`list`]; `true` and `false` are values, too.
pub(crate) fn switch_or_list<'de, T: FromStr<Err: fmt::Display>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<T>, D::Error> {
    separated(deserializer, None, true)
}

/// As [`list`]; a single string may hold several values, separated by commas.
pub(crate) fn comma_list<'de, T: FromStr<Err: fmt::Display>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<T>, D::Error> {
    separated(deserializer, Some(','), false)
}

fn separated<'de, T: FromStr<Err: fmt::Display>, D: Deserializer<'de>>(
    deserializer: D,
    separator: Option<char>,
    switches: bool,
) -> Result<Vec<T>, D::Error> {
    struct List<T>(Option<char>, bool, PhantomData<T>);

    impl<'de, T: FromStr<Err: fmt::Display>> Visitor<'de> for List<T> {
        type Value = Vec<T>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a string or a list of strings")
        }

        fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Vec<T>, E> {
            let parse = |text: &str| text.trim().parse().map_err(E::custom);
            match self.0 {
                Some(separator) => text.split(separator).map(parse).collect(),
                None => Ok(vec![parse(text)?]),
            }
        }

        fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<Vec<T>, E> {
            self.visit_str(&value.to_string())
        }

        fn visit_bool<E: serde::de::Error>(self, value: bool) -> Result<Vec<T>, E> {
            if self.1 {
                self.visit_str(&value.to_string())
            } else {
                Err(E::invalid_type(Unexpected::Bool(value), &self))
            }
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Vec<T>, A::Error> {
            let mut list = Vec::new();
            while let Some(Item(item)) = items.next_element()? {
                list.push(item);
            }
            Ok(list)
        }
    }

    deserializer.deserialize_any(List(separator, switches, PhantomData))
}

/// A table of texts; its keys must not be empty nor hold a `=`, so that each can stand as `KEY=VALUE`.
pub(crate) fn texts<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, String>, D::Error> {
    struct Texts;

    impl<'de> Visitor<'de> for Texts {
        type Value = BTreeMap<String, String>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a table of strings")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
            let mut table = BTreeMap::new();
            while let Some(key) = entries.next_key::<String>()? {
                let Item(value) = entries.next_value::<Item<String>>()?;
                let pair = format!("{key}={value}").parse::<super::Pair>().map_err(A::Error::custom)?;
                if pair.key != key {
                    return Err(A::Error::custom(format_args!("expected a name without `=`, found `{key}`")));
                }
                table.insert(pair.key, pair.value);
            }
            Ok(table)
        }
    }

    deserializer.deserialize_any(Texts)
}

/// A table of texts as [`texts`] reads it, in the order of its keys.
pub(crate) fn pairs<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<super::Pair>, D::Error> {
    let pair = |(key, value)| super::Pair { key, value };
    texts(deserializer).map(|table| table.into_iter().map(pair).collect())
}

/// A command as [`command`] reads it, for a key that may be absent.
pub(crate) fn optional_command<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<super::Command>, D::Error> {
    command(deserializer).map(Some)
}

/// A command: a line that is split into words, or the list of words.
pub(crate) fn command<'de, D: Deserializer<'de>>(deserializer: D) -> Result<super::Command, D::Error> {
    struct Words;

    impl<'de> Visitor<'de> for Words {
        type Value = super::Command;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a command as a string or a list of strings")
        }

        fn visit_str<E: serde::de::Error>(self, line: &str) -> Result<super::Command, E> {
            line.parse().map_err(E::custom)
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<super::Command, A::Error> {
            let mut words = Vec::new();
            while let Some(word) = items.next_element::<String>()? {
                words.push(word);
            }
            // Through its text, so that a list meets the same checks as a line.
            super::Command(words).to_string().parse().map_err(A::Error::custom)
        }
    }

    deserializer.deserialize_any(Words)
}
