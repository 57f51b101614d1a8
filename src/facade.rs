//! What the crate offers as a library: build an image, look at it, push it.

use std::path::{Path, PathBuf};

use clap::{CommandFactory as _, FromArgMatches as _, builder::Resettable};

use crate::{
    cli::{
        self, CliError,
        args::{BuildOptions, RecipeCli},
        job::{Job, Tools},
    },
    error::{Explain, Kind},
    host::Host,
    image::Artifact,
    images::{self, LocalImages},
    pipeline,
    sink::{self, Output},
    ui::Ui,
};

/// Why something failed. Its text is the error message that the program prints.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct Error(#[from] CliError);

impl Explain for Error {
    fn kind(&self) -> Kind {
        self.0.kind()
    }

    fn hint(&self) -> Option<String> {
        self.0.hint()
    }
}

/// Runs the program's command line: `words`, of which the first is the program's name, for `host`. Prints what there is to print and
/// returns the exit code. Variables `MICROBUILD_…` are those of this process.
pub fn command_line(words: impl IntoIterator<Item = std::ffi::OsString>, host: &Host) -> u8 {
    match cli::run(words, host) {
        Ok(status) => status,
        Err(error) => cli::explain(&error),
    }
}

/// A build of an app's folder, before it runs.
///
/// ```no_run
/// # fn main() -> Result<(), microbuild::Error> {
/// use microbuild::{Build, Host};
///
/// let host = Host::of_process();
/// let image = Build::new(&host, "./app").recipe("node").options(["--base", "scratch"])?.run()?;
/// println!("{} bytes", image.size());
/// image.push("registry.example/me/app:1")?;
/// # Ok(())
/// # }
/// ```
pub struct Build {
    host: Host,
    app: PathBuf,
    recipe: Option<String>,
    options: BuildOptions,
    ui: Ui,
}

impl Build {
    /// A build of the folder `app`: with the recipe that its `microbuild.toml` names or its files are recognized by, and silent.
    pub fn new(host: &Host, app: impl AsRef<Path>) -> Self {
        let (host, app) = (host.clone(), app.as_ref().to_owned());
        Self { host, app, recipe: None, options: BuildOptions::default(), ui: Ui::silent() }
    }

    /// The same with the recipe `name`: a name, or the path of a recipe file.
    #[must_use]
    pub fn recipe(mut self, name: &str) -> Self {
        self.recipe = Some(name.to_owned());
        self
    }

    /// The same with the options of the command line, as `microbuild node --help` lists them. They replace earlier ones.
    ///
    /// # Errors
    /// When there is no such option, or a value cannot be read.
    pub fn options<W: Into<std::ffi::OsString>>(mut self, words: impl IntoIterator<Item = W>) -> Result<Self, Error> {
        let words = std::iter::once("microbuild".into()).chain(words.into_iter().map(Into::into));
        // The environment of the process is not the caller's word.
        let command = RecipeCli::command().mut_args(|arg| arg.env(Resettable::Reset));
        let matches = command.try_get_matches_from(words);
        let parsed = matches.and_then(|matches| RecipeCli::from_arg_matches(&matches));
        self.options = *parsed.map_err(|error| CliError::Words(Box::new(error)))?.options;
        Ok(self)
    }

    /// The same with `line` called for every line of progress and every warning; `verbose` adds details.
    #[must_use]
    pub fn telling(mut self, line: impl Fn(&str) + Send + Sync + 'static, verbose: bool) -> Self {
        self.ui = Ui::to(line, verbose);
        self
    }

    /// Builds the image. It is kept nowhere until [`Image::keep`], [`Image::push`] or [`Image::write`].
    ///
    /// # Errors
    /// When something cannot be read, resolved, fetched, verified or built.
    pub fn run(self) -> Result<Image, Error> {
        let Self { host, app, recipe, options, ui } = self;
        let mut job = Job::new(&host, recipe.as_deref(), &app, options)?;
        job.ui = ui;
        let tools = job.tools()?;
        let built = pipeline::build(&job.request, &job.recipe, &tools.fetcher, &job.ui).map_err(CliError::from)?;
        Ok(Image { artifact: built.artifact, job, tools })
    }
}

/// An image that was built: one, or one for each platform under an index. Its layers stay in the store while it lives.
pub struct Image {
    artifact: Artifact,
    job: Job,
    tools: Tools,
}

/// A layer of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerSummary {
    /// What it holds, for people.
    pub title: String,
    /// The digest of its compressed bytes: `sha256:…`.
    pub digest: String,
    /// The compressed bytes.
    pub size: u64,
    /// What it is for: `linux/amd64`.
    pub platform: String,
}

impl Image {
    /// The digest that a tag points to, `sha256:…`: of the index, or of the only image's manifest.
    pub fn digest(&self) -> String {
        self.artifact.root().digest.to_string()
    }

    /// The bytes of its compressed layers; of several platforms, of the largest.
    pub fn size(&self) -> u64 {
        self.artifact.images.iter().map(crate::image::Image::size).max().unwrap_or(0)
    }

    /// Its layers, from the lowest to the uppermost, platform by platform.
    pub fn layers(&self) -> Vec<LayerSummary> {
        let of_image = |image: &crate::image::Image| {
            let platform = image.platform.to_string();
            let summary = |layer: &crate::layer::Layer| LayerSummary {
                title: layer.title.clone(),
                digest: layer.digest.to_string(),
                size: layer.size,
                platform: platform.clone(),
            };
            image.layers.iter().map(summary).collect::<Vec<_>>()
        };
        self.artifact.images.iter().flat_map(of_image).collect()
    }

    /// Keeps it among the user's local images as `name`, such as `app:1`.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn keep(&self, name: &str) -> Result<(), Error> {
        let dir = images::default_dir(&self.job.request.host).map_err(CliError::from)?;
        let local = LocalImages::open(&dir).map_err(CliError::from)?;
        local.put(&[images::with_tag(name)], &self.artifact, &self.job.ui).map_err(CliError::from)?;
        Ok(())
    }

    /// Pushes it to a registry, with the credentials of the user: `registry.example/me/app:1`. The registry is sent only the layers
    /// that it lacks.
    ///
    /// # Errors
    /// When the name cannot be read, or the registry cannot be reached or refuses.
    pub fn push(&self, reference: &str) -> Result<(), Error> {
        let reference = reference.parse().map_err(CliError::from)?;
        let (host, store) = (&self.job.request.host, self.tools.fetcher.store());
        let options = self.job.pushing;
        cli::push_to(&[reference], &self.artifact, options, host, &self.tools.http, store, &self.job.ui)
            .map_err(CliError::from)?;
        Ok(())
    }

    /// Writes it to `output` as `--output` takes it, such as `oci:DIR` or `docker-archive:FILE`, under the name `name`.
    ///
    /// # Errors
    /// When `output` cannot be read, or not be written.
    pub fn write(&self, output: &str, name: &str) -> Result<(), Error> {
        let output: Output = output.parse().map_err(CliError::from)?;
        sink::write(&output, &self.artifact, &[images::with_tag(name)], &self.job.request.host, &self.job.ui)
            .map_err(CliError::from)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_those_of_the_command_line() {
        let host = Host::new([], Path::new("/"));
        let build = Build::new(&host, "app").options(["--base", "scratch:3.22", "--offline"]).expect("options");
        assert_eq!(build.options.setup.machine.offline, Some(true));
        assert_eq!(build.options.setup.contents.base.map(|base| base.to_string()).as_deref(), Some("scratch:3.22"));
        let error = Build::new(&host, "app").options(["--bse", "scratch"]).err().expect("no such option");
        assert_eq!(error.kind(), Kind::Usage);
    }

    #[test]
    fn an_app_that_no_recipe_recognizes_is_a_usage_error() {
        let app = tempfile::tempdir().expect("a temporary folder");
        let host = Host::new([("HOME".into(), app.path().join("home").into())], Path::new("/"));
        let error = Build::new(&host, app.path()).run().err().expect("nothing to build");
        assert_eq!(error.kind(), Kind::Usage, "{error}");
    }
}
