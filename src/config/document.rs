//! TOML as people write it: mistakes are shown at their place, with the nearest right name.

use std::{collections::BTreeMap, fmt, marker::PhantomData, str::FromStr};

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, Error as _, MapAccess, SeqAccess, Unexpected, Visitor},
};

use toml::de::{DeArray, DeTable, DeValue};

use crate::near::nearest;

/// A mistake in a TOML document, at its place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}:{column}: {message}\n{excerpt}")]
pub struct DocumentError {
    /// The document, as the user knows it.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
    /// What was expected and what was found.
    pub message: String,
    /// The line itself, the place marked below it.
    pub excerpt: String,
    /// What to write instead.
    pub hint: Option<String>,
}

/// What is said of a key that another document may have.
#[derive(Debug)]
pub(super) struct Elsewhere {
    pub(super) message: String,
    pub(super) hint: String,
}

/// A part of a document: a struct that reads its own keys, and refuses others.
pub(super) trait Group {
    /// The keys that it has, in their order.
    fn keys(&self) -> Vec<String>;

    /// Reads the part of a document that holds its keys.
    fn read(&mut self, table: DeTable<'_>) -> Result<(), toml::de::Error>;
}

impl<T: DeserializeOwned> Group for T {
    fn keys(&self) -> Vec<String> {
        keys::<Self>()
    }

    fn read(&mut self, table: DeTable<'_>) -> Result<(), toml::de::Error> {
        *self = Self::deserialize(toml::Deserializer::from(toml::Spanned::new(0..0, table)))?;
        Ok(())
    }
}

/// Reads the TOML document `text` into the `groups` that its keys belong to; `file` is its name in messages, `elsewhere` knows
/// the keys of another document.
///
/// # Errors
/// The first mistake in the document: it is not TOML, a key is in no group, or a value is none of its key's.
pub(super) fn parse_groups(
    text: &str,
    file: &str,
    groups: &mut [&mut dyn Group],
    elsewhere: &dyn Fn(&str) -> Option<Elsewhere>,
) -> Result<(), DocumentError> {
    let told = |error: &toml::de::Error| {
        let (message, hint) = explain(error.message());
        (error.span().unwrap_or(0..0), message, hint)
    };
    let document = match DeTable::parse(text) {
        Ok(document) => document.into_inner(),
        Err(error) => {
            let (span, message, hint) = told(&error);
            return Err(DocumentError::at(text, file, span, message, hint));
        }
    };
    let known: Vec<Vec<String>> = groups.iter().map(|group| group.keys()).collect();
    let mut tables: Vec<DeTable<'_>> = groups.iter().map(|_| DeTable::new()).collect();
    let mut mistakes = Vec::new();
    for (key, value) in document {
        match known.iter().position(|keys| keys.iter().any(|known| *known == **key.get_ref())) {
            Some(at) => drop(tables[at].insert(key, value)),
            None => {
                let found = key.get_ref();
                let (message, hint) = match elsewhere(found) {
                    Some(Elsewhere { message, hint }) => (message, Some(hint)),
                    None => unknown("key", found, &known.iter().flatten().map(String::as_str).collect::<Vec<_>>()),
                };
                mistakes.push((key.span(), message, hint));
            }
        }
    }
    for (group, table) in groups.iter_mut().zip(tables) {
        mistakes.extend(group.read(table).err().as_ref().map(told));
    }
    match mistakes.into_iter().min_by_key(|(span, ..)| span.start) {
        Some((span, message, hint)) => Err(DocumentError::at(text, file, span, message, hint)),
        None => Ok(()),
    }
}

/// The keys that a document of type `T` may have, in their order. `T` must refuse unknown ones.
pub(super) fn keys<T: DeserializeOwned>() -> Vec<String> {
    let error = toml::from_str::<T>("\"?\" = 0").err();
    let message = error.as_ref().map_or("", toml::de::Error::message);
    message.split('`').skip(3).step_by(2).map(str::to_owned).collect()
}

/// Reads the TOML document `text`, whose key `like` may name another one that `find` knows: keys that it lacks are taken from
/// the other, and tables are merged key by key. `file` is its name in messages. The second value is all texts of the merged
/// document, whatever their keys.
///
/// # Errors
/// When it is not TOML, or not a `T`, and when there is no document of that name.
pub(crate) fn parse_like<'t, T: DeserializeOwned>(
    text: &'t str,
    file: &str,
    find: &dyn Fn(&str) -> Result<&'t str, String>,
) -> Result<(T, Vec<String>), DocumentError> {
    let mistake = |error: toml::de::Error| {
        let (message, hint) = explain(error.message());
        DocumentError::at(text, file, error.span().unwrap_or(0..0), message, hint)
    };
    let mut document = DeTable::parse(text).map_err(mistake)?;
    let mut like = named(document.get_ref());
    while let Some((name, span)) = like {
        let other = find(&name).map_err(|message| DocumentError::at(text, file, span.clone(), message, None))?;
        let other = DeTable::parse(other).map_err(mistake)?;
        like = named(other.get_ref());
        add(document.get_mut(), other.into_inner());
    }
    let mut texts = Vec::new();
    document.get_ref().values().for_each(|value| collect(value.get_ref(), &mut texts));
    let value = T::deserialize(toml::Deserializer::from(document)).map_err(mistake)?;
    Ok((value, texts))
}

/// Adds to `texts` all texts in `value`.
fn collect(value: &DeValue<'_>, texts: &mut Vec<String>) {
    match value {
        DeValue::String(text) => texts.push(text.to_string()),
        DeValue::Array(values) => values.iter().for_each(|value| collect(value.get_ref(), texts)),
        DeValue::Table(table) => table.values().for_each(|value| collect(value.get_ref(), texts)),
        _ => {}
    }
}

/// What the key `like` says, and where.
fn named(table: &DeTable<'_>) -> Option<(String, std::ops::Range<usize>)> {
    let value = table.get("like")?;
    Some((value.get_ref().as_str()?.to_owned(), value.span()))
}

/// Adds to `table` what only `other` has.
fn add<'t>(table: &mut DeTable<'t>, other: DeTable<'t>) {
    for (key, value) in other {
        match (table.get_mut(&key).map(toml::Spanned::get_mut), value.into_inner()) {
            (Some(DeValue::Table(inner)), DeValue::Table(more)) => add(inner, more),
            (Some(DeValue::Array(own)), DeValue::Array(others)) => complete(own, others),
            (Some(_), _) => {}
            (None, more) => {
                // Its place is in the other document, where nobody is to look for a mistake.
                table.insert(key, toml::Spanned::new(0..0, more));
            }
        }
    }
}

/// Adds to each table of `own` what only the table of the same `name` in `others` has, where each list has one of that name.
fn complete<'t>(own: &mut DeArray<'t>, others: DeArray<'t>) {
    fn name(value: &toml::Spanned<DeValue<'_>>) -> Option<String> {
        Some(value.get_ref().as_table()?.get("name")?.get_ref().as_str()?.to_owned())
    }
    let names: Vec<Option<String>> = own.iter().map(name).collect();
    let others: Vec<_> = others.into_iter().map(|value| (name(&value), value)).collect();
    let count = |name: &Option<String>| others.iter().filter(|(other, _)| other == name).count();
    let single: Vec<bool> = others.iter().map(|(name, _)| name.is_some() && count(name) == 1).collect();
    for ((name, value), single) in others.into_iter().zip(single) {
        let mut places = names.iter().enumerate().filter(|(_, own)| **own == name).map(|(at, _)| at);
        let (Some(at), None, true) = (places.next(), places.next(), single) else { continue };
        if let (Some(DeValue::Table(table)), DeValue::Table(more)) =
            (own.get_mut(at).map(toml::Spanned::get_mut), value.into_inner())
        {
            add(table, more);
        }
    }
}

impl DocumentError {
    /// A mistake at the bytes `span` of `text`.
    pub(crate) fn at(
        text: &str,
        file: &str,
        span: std::ops::Range<usize>,
        message: String,
        hint: Option<String>,
    ) -> Self {
        let before = text.get(..span.start).unwrap_or(text);
        let (line, column) =
            (before.matches('\n').count() + 1, before.rsplit('\n').next().unwrap_or("").chars().count() + 1);
        let content = text.lines().nth(line - 1).unwrap_or("");
        let rest = content.chars().count().saturating_sub(column - 1);
        let marked = text.get(span).map_or(1, |span| span.chars().count()).clamp(1, rest.max(1));
        let margin = " ".repeat(line.to_string().len());
        let excerpt =
            format!("{margin} |\n{line} | {content}\n{margin} | {}{}", " ".repeat(column - 1), "^".repeat(marked));
        Self { file: file.to_owned(), line, column, message, excerpt, hint }
    }
}

/// What is said of a name that is none of the `known` ones, and the hint that follows.
fn unknown(kind: &str, found: &str, known: &[&str]) -> (String, Option<String>) {
    let hint = match nearest(found, known.iter().copied()) {
        Some(name) => format!("did you mean `{name}`?"),
        None => format!("known here: {}", known.join(", ")),
    };
    (format!("unknown {kind} `{found}`"), Some(hint))
}

/// serde's message in this program's words, and the hint that follows from it. serde gives names that it does not know
/// as text only: "unknown field `x`, expected one of `a`, `b`".
fn explain(message: &str) -> (String, Option<String>) {
    let mut names = message.split('`').skip(1).step_by(2);
    if message.starts_with("unknown field `") {
        let found = names.next().unwrap_or_default();
        return unknown("key", found, &names.collect::<Vec<_>>());
    }
    if message.starts_with("unknown variant `") {
        let found = names.next().unwrap_or_default();
        return unknown("value", found, &names.collect::<Vec<_>>());
    }
    let other = ["invalid type: ", "invalid value: "].into_iter().find_map(|prefix| message.strip_prefix(prefix));
    if let Some((found, expected)) = other.and_then(|rest| rest.split_once(", expected ")) {
        return (format!("expected {expected}, found {found}"), None);
    }
    if let Some(name) = message.strip_prefix("missing field ") {
        return (format!("the key {name} is missing"), None);
    }
    (message.to_owned(), None)
}

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
            // Through its text, so that a list has to pass what a line has to.
            super::Command(words).to_string().parse().map_err(A::Error::custom)
        }
    }

    deserializer.deserialize_any(Words)
}
