//! Registries: references to images in them, credentials for them, and a client of the OCI distribution specification 1.1.
//!
//! A [`Reference`] names a registry; a [`Registry`] is the client of one; it answers challenges (`auth`) with what a
//! [`CredentialStore`] knows, moves manifests and blobs (`client`, `upload`), and turns refusals into
//! [`RegistryError`]s. [`login`] and [`logout`] are the two commands of these names.

mod answer;
mod auth;
mod blob;
mod client;
mod credentials;
mod error;
mod reference;
mod upload;

pub use auth::Scope;
pub use blob::Blob;
pub use client::{Found, Presence, Registry};
pub use credentials::{CredentialStore, Credentials, CredentialsError, Lookup, Stored};
pub use error::{ApiError, RegistryError, Tried};
pub use reference::{DOCKER_HUB, ParseReferenceError, Reference, api_host, is_local, parse_registry};
pub use upload::Uploaded;

use crate::http::Http;

/// Checks user name and password with the registry, and keeps them for later: in the credential helper when Docker's
/// configuration names one, else in its `config.json`.
///
/// # Errors
/// When the registry cannot be reached or refuses them, or they cannot be stored.
pub fn login(
    http: &Http,
    store: &CredentialStore,
    registry: &str,
    username: &str,
    password: &str,
) -> Result<Stored, RegistryError> {
    let credentials = Credentials::password(username, password);
    let client = Registry::with_credentials(http, registry, Some(credentials.clone()));
    client.check()?;
    Ok(store.store(registry, &credentials)?)
}

/// Forgets the credentials of `registry`, in the helper and in the files; whether there were any.
///
/// # Errors
/// When a file cannot be read or written, or the helper fails.
pub fn logout(store: &CredentialStore, registry: &str) -> Result<bool, RegistryError> {
    Ok(store.erase(registry)?)
}
