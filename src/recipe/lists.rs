//! Named lists that several recipes use: `recipes/shared/lists.toml`. The entry `{name}` of a list in a recipe stands
//! for all entries of the list `name`.

use std::{collections::BTreeMap, fmt, str::FromStr, sync::LazyLock};

use serde::Deserializer;

use crate::{near::nearest, values};

/// The text of the lists.
pub const LISTS: &str = include_str!("../../recipes/shared/lists.toml");

/// The lists, by name.
static BY_NAME: LazyLock<BTreeMap<String, Vec<String>>> = LazyLock::new(|| {
    let lists = toml::from_str(LISTS);
    lists.expect("lists.toml is part of the program, and a test reads it")
});

/// The values that one entry of a list in a recipe stands for: the entry itself, or all entries of a named list.
enum Entry<T> {
    One(T),
    List(Vec<T>),
}

impl<T: FromStr<Err: fmt::Display>> FromStr for Entry<T> {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let one = |text: &str| text.parse::<T>().map_err(|e| e.to_string());
        let Some(name) = text.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) else {
            return one(text).map(Self::One);
        };
        let Some(list) = BY_NAME.get(name) else {
            let near = nearest(name, BY_NAME.keys().map(String::as_str));
            let near = near.map_or_else(String::new, |near| format!("; did you mean `{{{near}}}`?"));
            return Err(format!("there is no list `{name}`{near}"));
        };
        list.iter().map(|text| one(text)).collect::<Result<_, _>>().map(Self::List)
    }
}

impl<T> Entry<T> {
    fn into_all(self) -> Vec<T> {
        match self {
            Self::One(one) => vec![one],
            Self::List(all) => all,
        }
    }
}

/// Reads a list that may contain named lists.
pub(super) fn list<'de, T: FromStr<Err: fmt::Display>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<T>, D::Error> {
    values::list::<Entry<T>, D>(deserializer).map(|list| list.into_iter().flat_map(Entry::into_all).collect())
}

/// Reads a list whose order shows in the image. A list that contains named lists is sorted, so that moving an entry
/// from one list to another does not change the image.
pub(super) fn sorted<'de, T: FromStr<Err: fmt::Display> + Ord, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<T>, D::Error> {
    let entries = values::list::<Entry<T>, D>(deserializer)?;
    let is_mixed = entries.iter().any(|entry| matches!(entry, Entry::List(_)));
    let mut all: Vec<T> = entries.into_iter().flat_map(Entry::into_all).collect();
    if is_mixed {
        all.sort();
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipe::Recipe;

    #[test]
    fn every_list_is_used_by_several_recipes() {
        for name in BY_NAME.keys() {
            let uses = |text: &&(&str, &str)| text.1.contains(&format!("\"{{{name}}}\""));
            assert!(super::super::BUILT_IN.iter().filter(uses).count() > 1, "{name}");
        }
    }

    #[test]
    fn a_list_stands_for_its_entries() {
        let recipe = |packages: &str| {
            Recipe::parse(
                &format!(
                    "name = 'x'\ndescription = 'x'\nstrip = ['{{programs}}', '/a']\n[base.debian]\npackages = {packages}\n"
                ),
                "x",
            )
        };
        let found = recipe("['{debian}', 'libc-bin']").unwrap();
        assert_eq!(
            found.base.debian.unwrap().packages,
            ["base-files", "base-passwd", "ca-certificates", "libc-bin", "netbase"]
        );
        assert_eq!(found.strip.len(), 4);
        let error = recipe("['{debain}']").unwrap_err().to_string();
        assert!(error.starts_with("x:5:13: there is no list `debain`; did you mean `{debian}`?"), "{error}");
    }
}
