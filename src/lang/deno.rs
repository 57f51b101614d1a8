//! Deno: whether TypeScript without a configuration file is an app of Deno.

use super::{Facts, LARGEST, Language, LanguageError, Source};
use crate::app_folder::AppFolder;

/// Deno, which runs TypeScript as it is.
#[derive(Debug)]
pub(super) struct Deno;

impl Language for Deno {
    fn name(&self) -> &'static str {
        "deno"
    }

    /// Without a file of Deno's own, TypeScript is an app of Deno where no `package.json` describes it.
    fn is_app(&self, folder: &AppFolder) -> bool {
        let own = ["deno.json", "deno.jsonc", "deno.lock"].iter().any(|name| folder.is_file(name));
        let other = ["package.json", "tsconfig.json"].iter().any(|name| folder.is_file(name));
        let uses = ["main.ts", "server.ts"].iter().any(|name| {
            let text = folder.read(name, LARGEST).ok().flatten().unwrap_or_default();
            ["Deno.", "\"jsr:", "\"npm:", "https://deno.land/"].iter().any(|words| text.contains(words))
        });
        own || !other || uses
    }

    fn read(&self, _source: &Source<'_>) -> Result<Facts, LanguageError> {
        Ok(Facts::default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lang::testing::Draft;

    #[test]
    fn typescript_alone_is_denos() {
        for (files, is_app) in [
            (&[("main.ts", "console.log(1)")][..], true),
            (&[("server.ts", "Deno.serve(() => new Response())"), ("package.json", "{}")], true),
            (&[("main.ts", "console.log(1)"), ("package.json", "{}")], false),
            (&[("main.ts", ""), ("package.json", "{}"), ("deno.lock", "{}")], true),
        ] {
            assert_eq!(Deno.is_app(Draft::new(files).folder()), is_app, "{files:?}");
        }
    }
}
