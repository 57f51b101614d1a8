//! Scripts of `package.json`, as package managers run them by their names.

use serde_json::Value;

use super::super::Script;

/// The name of the script that starts the app.
const START: &str = "start";

/// What managers do with their first word when it is no script: these run nothing of the app.
const OWN: [&str; 16] = [
    "add",
    "audit",
    "cache",
    "config",
    "create",
    "dlx",
    "exec",
    "init",
    "install",
    "link",
    "pack",
    "publish",
    "remove",
    "uninstall",
    "update",
    "why",
];

/// The script of the `package.json` with this text that `words` run: `npm run X`, `yarn X`, `npx PROGRAM`.
pub(super) fn find(manifest: &str, words: &[String]) -> Option<Script> {
    let (manager, rest) = words.split_first()?;
    let mut rest: Vec<&str> = rest.iter().map(String::as_str).collect();
    let program = match (manager.as_str(), rest.as_slice()) {
        ("npx", [..]) => Some(rest.as_slice()),
        ("npm" | "pnpm" | "yarn", ["exec", after @ ..]) => Some(after),
        _ => None,
    };
    if let Some(program) = program {
        let begin = program.iter().position(|word| !word.starts_with('-'))?;
        let asks = |word: &&str| matches!(*word, "-y" | "--yes" | "--" | "--no-install" | "--no");
        return program[..begin]
            .iter()
            .all(asks)
            .then(|| Script { line: line("", &program[begin..]), is_start: false });
    }
    if matches!(rest.first(), Some(&("run" | "run-script"))) {
        rest.remove(0);
    }
    rest.retain(|word| !matches!(*word, "--silent" | "-s" | "--quiet" | "-q"));
    let (name, args) = rest.split_first().map_or((START, [].as_slice()), |(name, args)| (*name, args));
    if OWN.contains(&name) || name.starts_with('-') {
        return None;
    }
    let manifest: Value = serde_json::from_str(manifest).ok()?;
    let script = manifest.get("scripts")?.get(name)?.as_str()?;
    let args = args.strip_prefix(&["--"]).unwrap_or(args);
    Some(Script { line: line(script, args), is_start: name == START && args.is_empty() })
}

/// The script with further words, quoted for a shell where they must be.
fn line(script: &str, args: &[&str]) -> String {
    let quote = |word: &&str| {
        let plain = |c: char| c.is_ascii_alphanumeric() || "@%+=:,./_-".contains(c);
        if !word.is_empty() && word.chars().all(plain) {
            (*word).to_owned()
        } else {
            format!("'{}'", word.replace('\'', r"'\''"))
        }
    };
    let words = Some(script.to_owned()).filter(|script| !script.is_empty()).into_iter().chain(args.iter().map(quote));
    words.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn managers_run_scripts_by_their_names() {
        let manifest = r#"{"scripts": {"start": "node a.js", "serve": "next start", "add": "x"}}"#;
        for (words, expected) in [
            ("npm start", "start: node a.js"),
            ("npm run start", "start: node a.js"),
            ("npm run start -- -p 80", "node a.js -p 80"),
            ("yarn", "start: node a.js"),
            ("yarn start", "start: node a.js"),
            ("npm run -s serve", "next start"),
            ("npm run-script serve", "next start"),
            ("yarn serve --port 80", "next start --port 80"),
            ("pnpm run serve", "next start"),
            ("bun serve", "next start"),
            ("npx -y serve -l 80", "serve -l 80"),
            ("npx --package=x y", "-"),
            ("npm exec -- next start", "next start"),
            ("npm run nothing", "-"),
            ("npm add x", "-"),
            ("npm --version", "-"),
            ("npx", "-"),
        ] {
            let words: Vec<String> = words.split(' ').map(str::to_owned).collect();
            let found = find(manifest, &words);
            let shown = found.map(|script| format!("{}{}", if script.is_start { "start: " } else { "" }, script.line));
            assert_eq!(shown.as_deref().unwrap_or("-"), expected, "{words:?}");
        }
        assert_eq!(line("a", &["b c", "it's", ""]), r"a 'b c' 'it'\''s' ''");
    }
}
