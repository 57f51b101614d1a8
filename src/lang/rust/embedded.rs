//! The files that become part of a Rust program when it is compiled: by macros that take in a whole folder, and by templates
//! that are turned into code.

use super::{LanguageError, Source, read_toml};
use crate::{glob::Pattern, listing::FileKind};

/// What stands before the quoted path of a folder that is taken in, in code without spaces.
const FOLDERS: &[&str] = &[
    // rust-embed; in an attribute, `#[folder = "static/"]`.
    "#[folder=\"",
    "include_dir!(\"",
    "embed_migrations!(\"",
    "migrate!(\"",
];

/// Crates whose templates, in the folder `templates`, are code; and those that read the same folder at run time.
const COMPILED_TEMPLATES: &[&str] = &["askama", "rinja", "sailfish", "askama_axum", "askama_actix", "ructe"];
const READ_TEMPLATES: &[&str] = &["handlebars", "liquid", "minijinja", "rocket_dyn_templates", "tera"];

/// The patterns of paths of the project that are compiled in. `packages` are the folders of its packages.
pub(super) fn patterns(source: &Source<'_>, packages: &[String]) -> Result<Vec<Pattern>, LanguageError> {
    let mut found = Vec::new();
    let own = |package: &str, path: &str| {
        let path = path.trim_start_matches("$CARGO_MANIFEST_DIR").trim_start_matches('/').trim_start_matches("./");
        let path = path.trim_end_matches('/');
        if package.is_empty() { path.to_owned() } else { format!("{package}/{path}") }
    };
    for path in source.files.paths().filter(|path| path.ends_with(".rs")) {
        let is_file = matches!(source.files.get(path), Some(FileKind::File { .. }));
        let above = |package: &&String| package.is_empty() || path.starts_with(&format!("{package}/"));
        let Some(package) = packages.iter().filter(above).max_by_key(|package| package.len()).filter(|_| is_file)
        else {
            continue;
        };
        // Cargo itself reports a file that is no text.
        let Some(text) = source.read(path).ok().flatten() else { continue };
        let code: String =
            text.lines().filter(|line| !line.trim_start().starts_with("//")).flat_map(str::chars).collect();
        let code: String = code.chars().filter(|c| !c.is_whitespace()).collect();
        for words in FOLDERS {
            let folders = code.split(words).skip(1).filter_map(|rest| rest.split_once('"'));
            found.extend(folders.map(|(folder, _)| own(package, folder)));
        }
        if code.contains("migrate!()") {
            found.push(own(package, "migrations"));
        }
    }
    for package in packages {
        let manifest =
            if package.is_empty() { super::MANIFEST.to_owned() } else { format!("{package}/{}", super::MANIFEST) };
        let table = read_toml(source, &manifest)?.unwrap_or_default();
        let needs = |names: &[&str]| {
            let needs = table.get("dependencies").and_then(toml::Value::as_table);
            needs.is_some_and(|needs| names.iter().any(|name| needs.contains_key(*name)))
        };
        if needs(COMPILED_TEMPLATES) && !needs(READ_TEMPLATES) {
            found.push(own(package, "templates"));
        }
    }
    // The project's own folder would be everything.
    Ok(found.iter().filter(|path| !path.is_empty()).filter_map(|path| path.parse().ok()).collect())
}

#[cfg(test)]
mod tests {
    use crate::lang::{rust::Rust, testing::Draft};

    #[test]
    fn macros_take_folders_in() {
        let manifest = "[package]\nname = 'a'\nversion = '1.0.0'\n[dependencies]\naskama = '0.14'\n";
        let code = "#[derive(Embed)]\n#[folder = \"static/\"]\nstruct S;\n// include_dir!(\"no\")\n\
                    static D: Dir = include_dir!( \"$CARGO_MANIFEST_DIR/pages\" );\nfn main() { sqlx::migrate!().run(); migrate!(\"./db\"); }\n";
        let embedded = |manifest: &str| {
            let facts = Draft::new(&[("Cargo.toml", manifest), ("src/main.rs", code)]).read(&Rust).unwrap();
            facts.embedded.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(embedded(manifest), "static pages db migrations templates");
        assert_eq!(embedded(&format!("{manifest}tera = '1'\n")), "static pages db migrations");
    }
}
