//! The choice of the base when the user names none.

use super::BuildError;
use crate::{
    deb::solve::PackageRequest,
    fetch::{FetchError, Fetcher},
    lock::LockError,
    plan::{alpine, debian, host_platform},
    recipe::Recipe,
    request::Request,
    ui::Ui,
    values::{Base, Distribution},
};

/// Returns the request, with another base where its mirror cannot be reached and the request allows that: the Debian of
/// this machine's apt sources. The image is then another one, so a warning names the base.
///
/// # Errors
/// When the mirror cannot be used, and this machine has no apt sources.
pub fn resolve_base(request: &Request, recipe: &Recipe, fetcher: &Fetcher, ui: &Ui) -> Result<Request, BuildError> {
    let mut settled = Request { fallback: false, ..request.clone() };
    let Distribution::Alpine(release) = &request.base.distribution else { return Ok(settled) };
    if !request.fallback || recipe.packages(&request.base).is_err() {
        return Ok(settled);
    }
    let platform = request.platforms.first().cloned().unwrap_or_else(host_platform);
    let wanted = alpine::AlpineWanted::new(request, release, &[])?;
    let Some(index) = wanted.first_index(alpine::architecture(&platform)?) else { return Ok(settled) };
    let Err(error) = fetcher.reach(&index) else { return Ok(settled) };
    // A package written in apk's syntax is meant for Alpine.
    let understood = request.packages.iter().all(|package| package.parse::<PackageRequest>().is_ok());
    match debian::own_suite(&request.host).filter(|_| recipe.base.debian.is_some() && understood) {
        Some(suite) if error.is_unreachable() => {
            settled.base = Base::debian(Some(suite));
            ui.warn(&warning(&error, &request.base, &settled.base));
            Ok(settled)
        }
        // The build meets the same error, after more attempts.
        _ if error.is_unreachable() => Ok(settled),
        _ => Err(LockError::from(error).into()),
    }
}

fn warning(error: &FetchError, wanted: &Base, taken: &Base) -> String {
    let reason = match error {
        FetchError::Http { source, .. } => source.to_string(),
        error => error.to_string(),
    };
    format!(
        "the mirror of {wanted} cannot be reached: {reason}; this image is made from {taken} instead, out of this machine's \
         apt sources. To choose: --base {taken} or --base {wanted}, or base = \"{taken}\" in microbuild.toml"
    )
}
