//! TOML for users: mistakes are shown at their place, with the nearest known name.

use serde::de::DeserializeOwned;

use toml::de::{DeArray, DeTable, DeValue};

use crate::near::nearest;

/// A mistake in a TOML document, at its place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}:{column}: {message}\n{excerpt}")]
pub struct DocumentError {
    /// The document's name for the user.
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

/// The error of a key that belongs to another document.
#[derive(Debug)]
pub(crate) struct Elsewhere {
    pub(crate) message: String,
    pub(crate) hint: String,
}

/// A group of keys: a struct that reads its own keys and refuses others.
pub(crate) trait Group {
    /// Its keys, in order.
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
/// The first mistake in the document: it is not TOML, a key is in no group, or a value does not fit its key.
pub(crate) fn parse_groups(
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
pub(crate) fn keys<T: DeserializeOwned>() -> Vec<String> {
    let error = toml::from_str::<T>("\"?\" = 0").err();
    let message = error.as_ref().map_or("", toml::de::Error::message);
    message.split('`').skip(3).step_by(2).map(str::to_owned).collect()
}

/// Reads the TOML document `text`. Its key `like` may name another document, which `find` returns: missing keys are
/// taken from the other, and tables are merged key by key. `file` is its name in messages. The second value is all
/// texts of the merged document, of every key.
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

/// The value of the key `like`, and its place.
fn named(table: &DeTable<'_>) -> Option<(String, std::ops::Range<usize>)> {
    let value = table.get("like")?;
    Some((value.get_ref().as_str()?.to_owned(), value.span()))
}

/// Adds to `table` the keys that only `other` has.
fn add<'t>(table: &mut DeTable<'t>, other: DeTable<'t>) {
    for (key, value) in other {
        match (table.get_mut(&key).map(toml::Spanned::get_mut), value.into_inner()) {
            (Some(DeValue::Table(inner)), DeValue::Table(more)) => add(inner, more),
            (Some(DeValue::Array(own)), DeValue::Array(others)) => complete(own, others),
            (Some(_), _) => {}
            (None, more) => {
                // Its place is in the other document, and must not be shown as a place in this one.
                table.insert(key, toml::Spanned::new(0..0, more));
            }
        }
    }
}

/// Adds to each table of `own` the keys that only the table of the same `name` in `others` has, where each list has one
/// of that name.
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

/// The message for a name that is not among the `known` ones, and its hint.
fn unknown(kind: &str, found: &str, known: &[&str]) -> (String, Option<String>) {
    let hint = match nearest(found, known.iter().copied()) {
        Some(name) => format!("did you mean `{name}`?"),
        None => format!("known here: {}", known.join(", ")),
    };
    (format!("unknown {kind} `{found}`"), Some(hint))
}

/// Turns serde's message into this program's words, with a hint. serde gives unknown names as text only: "unknown field
/// `x`, expected one of `a`, `b`".
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
