//! How an image asks to be run, besides its command: folders, the stop signal, tini, health checks.

use super::PlanError;
use crate::{
    image::Health,
    recipe::Recipe,
    request::{HealthOptions, Request},
    values::{Base, Distribution},
};

/// The package of tini, by both distributions' name.
pub(super) const TINI: &str = "tini";
/// What Debian's package has besides: a program with the C library in it, of several times the size.
pub(super) const TINI_STATIC: &str = "/usr/bin/tini-static";

/// Whether tini starts the app.
pub(super) fn has_init(request: &Request, recipe: &Recipe) -> bool {
    request.container.init.unwrap_or(recipe.app.init)
}

/// The words before the app's command.
pub(super) fn init(base: &Base) -> [String; 2] {
    let program = match base.distribution {
        Distribution::Alpine(_) => "/sbin/tini",
        Distribution::Debian(_) => "/usr/bin/tini",
    };
    [program.to_owned(), "--".to_owned()]
}

/// The folders of the app in `workdir` that belong to its user: those to write into, then the volumes.
pub(super) fn folders(request: &Request, workdir: &str) -> (Vec<String>, Vec<String>) {
    let within = |folders: &[crate::values::ImageFolder]| {
        let mut paths: Vec<String> = folders.iter().map(|folder| folder.within(workdir)).collect();
        paths.sort();
        paths.dedup();
        paths
    };
    (within(&request.container.writable), within(&request.container.volumes))
}

/// The health check that `request` asks for.
///
/// # Errors
/// When there is a time without a command, or the image has no program for a request over HTTP.
pub(super) fn health(request: &Request, recipe: &Recipe) -> Result<Option<Health>, PlanError> {
    let HealthOptions { command, interval, timeout, start_period, retries } = &request.container.health;
    let Some(command) = command.as_ref().filter(|command| !command.0.is_empty()) else {
        let given = interval.or(*timeout).or(*start_period).is_some() || retries.is_some();
        return if given { Err(PlanError::NoHealthCommand) } else { Ok(None) };
    };
    let words = match &command.0[..] {
        [word] => match url(word) {
            Some(url) => probe(&url, request, recipe)?,
            None => command.0.clone(),
        },
        words => words.to_vec(),
    };
    let test = std::iter::once("CMD".to_owned()).chain(words).collect();
    let [interval, timeout, start_period] = [interval, timeout, start_period].map(|span| span.map(|span| span.0));
    Ok(Some(Health { test, interval, timeout, start_period, retries: *retries }))
}

/// The URL that a health check's only word means: `http://HOST…` itself, or `:PORT/PATH` of the container. No character of it means
/// something in a program's text.
fn url(word: &str) -> Option<String> {
    let plain = word.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~:/?#[]@!$&()*+,;=%".contains(&b));
    let is_port =
        |rest: &str| rest.split('/').next().is_some_and(|port| port.parse::<u16>().is_ok_and(|port| port != 0));
    match word.strip_prefix(':') {
        Some(rest) if plain && is_port(rest) => Some(format!("http://127.0.0.1:{rest}")),
        None if plain && (word.starts_with("http://") || word.starts_with("https://")) => Some(word.to_owned()),
        _ => None,
    }
}

/// The command that asks `url`: by busybox where the base has it, which takes less than a language does to start; else by the
/// recipe's own program.
fn probe(url: &str, request: &Request, recipe: &Recipe) -> Result<Vec<String>, PlanError> {
    // Only this base has a shell, and with it busybox.
    if request.base.shell {
        return Ok(["wget", "-q", "-T", "10", "-O", "/dev/null", url].map(str::to_owned).to_vec());
    }
    if recipe.app.probe.0.is_empty() {
        return Err(PlanError::NoProbe { recipe: recipe.name.clone(), url: url.to_owned() });
    }
    Ok(recipe.app.probe.0.iter().map(|word| word.replace("{url}", url)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{error::Explain as _, plan::tests::request, recipe::RecipeSearch, values::Command};

    #[test]
    fn urls_are_told_from_commands() {
        for (word, expected) in [
            ("http://localhost:8080/health?a=1&b", Some("http://localhost:8080/health?a=1&b")),
            ("https://localhost/", Some("https://localhost/")),
            (":8080/health", Some("http://127.0.0.1:8080/health")),
            (":80", Some("http://127.0.0.1:80")),
            (":0/x", None),
            (":http", None),
            ("./check", None),
            ("http://a/'x", None),
            ("http://a/\"x", None),
            ("http://a/\\x", None),
        ] {
            assert_eq!(url(word).as_deref(), expected, "{word}");
        }
    }

    #[test]
    fn a_check_is_a_command_without_a_shell() {
        let find = |name| RecipeSearch::default().find(name).expect("built in");
        let (node, go) = (find("node"), find("go"));
        let of = |recipe: &Recipe, base: &str, command: &str| {
            let mut request = Request { base: base.parse().expect("a base"), ..request() };
            request.container.health.command = command.parse::<Command>().ok();
            request.container.health.retries = Some(2);
            health(&request, recipe)
        };
        let words = |recipe: &Recipe, base: &str, command: &str| {
            of(recipe, base, command).expect("a check").expect("one").test.join(" ")
        };
        assert_eq!(words(&go, "scratch", "/app/x --check"), "CMD /app/x --check");
        assert_eq!(words(&go, "alpine", ":80/a"), "CMD wget -q -T 10 -O /dev/null http://127.0.0.1:80/a");
        let by_node = words(&node, "debian", ":80/a");
        assert!(by_node.starts_with("CMD node -e ") && by_node.ends_with(" http://127.0.0.1:80/a"), "{by_node}");
        let error = of(&go, "scratch", ":80/a").expect_err("no program");
        assert!(error.to_string().contains("recipe go") && error.hint().is_some(), "{error}");
        assert!(matches!(of(&node, "debian", ""), Err(PlanError::NoHealthCommand)), "only a count");
        assert_eq!(health(&request(), &node).expect("nothing asked"), None);
    }
}
