//! Reading a project: its files, how it starts, what its language knows of it, its steps.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use super::{
    AppFile, Checkout, FileKind, Options, Project, ProjectError, check_copied, commit, data, dockerfile, folder, git,
    ignore_file, list, procfile, steps, walk,
};
use crate::{
    app_folder::AppFolder,
    glob::PatternSet,
    lang::{Build, Facts, GeneratedFile, Language, LanguageError, Source, Start, validators},
    listing::Listing,
    recipe::{Recipe, Template},
    values::{BuildCommand, Deps},
};

/// What the user is told of a project.
#[derive(Default)]
struct Told {
    /// Warnings, each a line.
    warnings: Vec<String>,
    /// Choices that were made, each a line.
    notes: Vec<String>,
}

/// An app's folder with its files.
struct Folder {
    /// As the user names it; of a single file, the folder that it is in.
    app: PathBuf,
    /// Its absolute path, without links.
    root: PathBuf,
    opened: AppFolder,
    /// The names at its top, and further paths that steps ask for.
    names: Vec<String>,
    /// The files for the image.
    files: Listing,
    /// Installed dependencies that are copied.
    dependencies: Listing,
    /// The files for steps, where an ignore file that is meant for an image only would hide them.
    sources: Option<Listing>,
}

/// How the app is asked to start, before its language is.
struct Asked<'a> {
    /// The process of the `Procfile`, or of the `Dockerfile`.
    process: Option<procfile::Process>,
    /// The ports that its `Dockerfile` names.
    ports: Vec<crate::values::Port>,
    entrypoint: Words<'a>,
    cmd: Words<'a>,
}

/// What a compiled app has besides its program.
struct Compiled {
    /// The files that the program opens.
    data: Vec<AppFile>,
    /// The program's name.
    program: &'static str,
    /// Variables for its steps.
    env: BTreeMap<String, String>,
    /// A repository that knows the commit, for scripts that ask for it.
    repository: Vec<GeneratedFile>,
}

/// Reads the app in the folder `app`; see [`Project::read`].
pub(super) fn read(app: &Path, recipe: &Recipe, options: &Options) -> Result<Project, ProjectError> {
    let mut told = Told::default();
    let folder = Folder::list(app, recipe, options, &mut told)?;
    let mut asked = Asked::of(&folder, recipe, options, &mut told)?;
    let starts = asked.has_places();
    let source = folder.source(recipe, options, starts);
    let (mut facts, hinted) = folder.facts(recipe, &source)?;
    let build = built(recipe, options, &source, &mut facts)?;
    if options.deps == Deps::Copy {
        check_copied(recipe, &folder.app, facts.dependencies.as_ref(), &folder.dependencies)?;
    }
    let needs = facts.dependencies.as_ref();
    let chosen = steps::of_project(&folder.names, recipe, needs, Some(build.as_ref()));
    let mut chosen = steps::to_run(&chosen, recipe, needs, options.deps)?;
    chosen.retain(|at| recipe.steps.get(*at).is_some_and(|step| !facts.unneeded.contains(&step.name)));
    let start = folder.start(recipe, starts, &mut facts, hinted, &mut asked, &mut told)?;
    told.warnings.append(&mut facts.warnings);
    if let Some(language) = recipe.language.filter(|_| options.same_times) {
        told.warnings.extend(validators::warning(language.name(), &source));
    }
    told.notes.append(&mut facts.notes);
    asked.settle(facts.command.take().filter(|_| starts));
    let installs = chosen.iter().any(|at| recipe.steps.get(*at).is_some_and(|step| step.installs));
    let generated = match recipe.language {
        Some(language) if installs => language.prepare(&source)?,
        _ => Vec::new(),
    };
    let git::Commit { revision, source: origin } = git::commit(&folder.root);
    let compiled = folder.compiled(recipe, options, &facts, revision.as_deref(), &mut told);
    let listed = folder.sources.as_ref().unwrap_or(&folder.files).clone().into_files();
    let seen = steps::Seen {
        folder: &folder.opened,
        files: &listed,
        dependencies: &facts.dependencies.take().unwrap_or_default(),
        generated: &generated,
        repository: &compiled.repository,
        exclude: &options.exclude,
        build: build.as_ref(),
    };
    let steps = chosen.into_iter().filter_map(|at| Some((at, recipe.steps.get(at)?)));
    let steps = steps.map(|(at, step)| seen.by(at, step, &mut told.warnings)).collect::<Result<Vec<_>, _>>()?;
    let workdir = options.workdir.as_ref().unwrap_or(&recipe.app.workdir).as_str();
    let fill = |words: &Words<'_>| words.fill(&start, workdir, compiled.program);
    let made = [&recipe.app.entrypoint, &recipe.app.cmd].map(|words| words.fill(&start, workdir, compiled.program));
    let made = if recipe.app.is_made && asked.process.is_some() { made.concat() } else { Vec::new() };
    let process_env = asked.process.iter().flat_map(|process| process.env.clone());
    Ok(Project {
        data: compiled.data,
        data_folder: facts.folder,
        build_env: compiled.env,
        deps: if folder.dependencies.is_empty() && !installs { Deps::None } else { options.deps },
        steps,
        entrypoint: fill(&asked.entrypoint),
        cmd: fill(&asked.cmd),
        shell: asked.process.as_ref().filter(|process| process.needs_shell).map(ToString::to_string),
        env: facts.env.into_iter().chain(process_env).collect(),
        made,
        ports: asked.ports,
        entry: Some(start.entry).filter(|entry| !entry.is_empty()),
        generated: facts.files,
        roles: facts.roles,
        extensions: facts.extensions,
        title: facts.name,
        version: facts.version,
        runtime: facts.runtime,
        revision,
        source: origin,
        checkout: Checkout::None,
        notes: told.notes,
        warnings: told.warnings,
        root: folder.app,
        files: walk::without(folder.files.into_files(), &facts.without),
        dependencies: folder.dependencies.into_files(),
    })
}

/// How the app is built, where it is.
fn built(
    recipe: &Recipe,
    options: &Options,
    source: &Source<'_>,
    facts: &mut Facts,
) -> Result<Option<Build>, ProjectError> {
    let build = facts.build.take().filter(|_| source.builds);
    if build.is_none() && source.builds && options.build.run.is_some() {
        return Err(ProjectError::NoBuild(recipe.name.clone()));
    }
    Ok(build)
}

impl Folder {
    /// Lists the folder `app`, or the folder of the single file `app`.
    fn list(app: &Path, recipe: &Recipe, options: &Options, told: &mut Told) -> Result<Self, ProjectError> {
        // The user chose the single file: where it is a link, its target is meant.
        let unreadable = |source| ProjectError::Io { path: app.to_owned(), source };
        let real = if app.is_file() { Some(fs::canonicalize(app).map_err(unreadable)?) } else { None };
        let alone = match (recipe.language, &real) {
            (Some(language), Some(path)) => language.single_file(path)?,
            _ => None,
        };
        let app = match real.as_deref().filter(|_| alone.is_some()) {
            Some(file) => file.parent().unwrap_or(Path::new("/")),
            None => app,
        };
        let (root, opened) = (folder(app)?, AppFolder::open(app)?);
        let mut names = walk::names(&opened)?;
        // Steps may also ask for paths below the top.
        let paths = recipe.steps.iter().flat_map(|step| &step.when).map(ToString::to_string);
        names.extend(paths.filter(|path| path.contains('/') && opened.kind(path).is_some()));
        let is_alone = alone.is_some();
        let walk::Found { files, dependencies, warnings } = match alone {
            Some(file) => walk::Found::of(file),
            None => list(&opened, &root, &names, recipe, options, ignore_file(&opened)?)?,
        };
        told.warnings.extend(warnings);
        let sources = match steps::hidden(&names, &opened, recipe, &files) {
            Some(hidden) if !is_alone => {
                told.notes.push(steps::told_hidden(&hidden));
                Some(list(&opened, &root, &names, recipe, options, Vec::new())?.files)
            }
            _ => None,
        };
        Ok(Self { app: app.to_owned(), root, opened, names, files, dependencies, sources })
    }

    /// The project as its language sees it.
    fn source<'a>(&'a self, recipe: &Recipe, options: &'a Options, starts: bool) -> Source<'a> {
        let installs = options.deps == Deps::Auto;
        // A compiled program is made even where its command is given. `microbuild dev` gives an empty one, and makes none.
        let makes = recipe.app.is_made && !options.cmd.as_ref().is_some_and(Vec::is_empty);
        Source {
            folder: &self.opened,
            root: &self.root,
            files: self.sources.as_ref().unwrap_or(&self.files),
            starts: starts || makes,
            installs,
            builds: installs && options.build.run != Some(BuildCommand::None),
            build: &options.build,
            port: options.port,
            variables: &options.variables,
        }
    }

    /// What the language knows. Where it finds no start, the only source file is one, or what the `Dockerfile` starts.
    fn facts(&self, recipe: &Recipe, source: &Source<'_>) -> Result<(Facts, Option<dockerfile::Found>), ProjectError> {
        let Some(language) = recipe.language else { return Ok((Facts::default(), None)) };
        match language.read(source) {
            Err(error @ LanguageError::NoEntry { .. }) => {
                let start = self.lone(recipe);
                let hinted = if start.is_none() { self.dockerfile(recipe)? } else { None };
                if start.is_none() && hinted.is_none() {
                    return Err(error.into());
                }
                Ok((Facts { start, ..language.read(&Source { starts: false, ..*source })? }, hinted))
            }
            facts => Ok((facts?, None)),
        }
    }

    fn dockerfile(&self, recipe: &Recipe) -> Result<Option<dockerfile::Found>, ProjectError> {
        dockerfile::start(&self.opened, recipe, &self.files)
    }

    /// How the app starts: as its language says, else with a file of the recipe's, else with the only source file, else as its
    /// `Dockerfile` says, which `asked` gets then.
    fn start(
        &self,
        recipe: &Recipe,
        starts: bool,
        facts: &mut Facts,
        mut hinted: Option<dockerfile::Found>,
        asked: &mut Asked<'_>,
        told: &mut Told,
    ) -> Result<Start, ProjectError> {
        let is_finished = recipe.language.is_some_and(Language::is_finished);
        let mut start = facts.start.take();
        if start.is_none() && starts && !is_finished && facts.command.is_none() {
            let entry = recipe.app.entry.iter().find(|name| self.files.get(name).is_some());
            let usual = entry.map(|entry| Start { entry: entry.clone(), ..Start::default() });
            start = usual.or_else(|| self.lone(recipe));
            if start.is_none() && hinted.is_none() {
                hinted = self.dockerfile(recipe)?;
                if hinted.is_none() {
                    return Err(self.no_file(recipe));
                }
            }
        }
        if let Some(dockerfile::Found { process, ports, note }) = hinted {
            (asked.process, asked.ports) = (Some(process), ports);
            told.notes.push(note);
        }
        Ok(start.unwrap_or_default())
    }

    /// The only source file at the top.
    fn lone(&self, recipe: &Recipe) -> Option<Start> {
        let patterns = PatternSet::new(recipe.source.clone());
        let is_meant = |path: &&str| !path.contains('/') && patterns.matches(path) && self.is_file(path);
        let mut meant = self.files.paths().filter(is_meant);
        let entry = meant.next()?.to_owned();
        meant.next().is_none().then(|| Start { entry, ..Start::default() })
    }

    fn is_file(&self, path: &str) -> bool {
        matches!(self.files.get(path), Some(FileKind::File { .. }))
    }

    /// The error for an app without a file that is known to start it.
    fn no_file(&self, recipe: &Recipe) -> ProjectError {
        let patterns = PatternSet::new(recipe.source.clone());
        let own = self.files.paths().filter(|path| patterns.matches(path) && self.is_file(path));
        let own = own.min_by_key(|path| (path.matches('/').count(), (*path).to_owned()));
        let entry = own.or(recipe.app.entry.first().map(String::as_str)).unwrap_or("FILE").to_owned();
        let start = Start { entry, ..Start::default() };
        let command = recipe.app.cmd.fill(&start, recipe.app.workdir.as_str(), data::program(&[])).join(" ");
        ProjectError::NoFile { names: recipe.app.entry.clone(), folder: self.app.clone(), command }
    }

    /// What a compiled app, whose commit is `revision`, has besides its program.
    fn compiled(
        &self,
        recipe: &Recipe,
        options: &Options,
        facts: &Facts,
        revision: Option<&str>,
        told: &mut Told,
    ) -> Compiled {
        let mut env = facts.build_env.clone();
        if !recipe.app.is_made {
            return Compiled { data: Vec::new(), program: data::program(&[]), env, repository: Vec::new() };
        }
        let rule = data::Rule {
            recipe: &recipe.app.data,
            include: &options.include,
            keep: &options.keep,
            base: &facts.folder,
            embedded: &facts.embedded,
        };
        let data = rule.data(&self.files);
        told.notes.extend(data::told(&data));
        let program = data::program(&data);
        if program != data::program(&[]) {
            env.insert("PROGRAM".to_owned(), program.to_owned());
        }
        let listed = self.sources.as_ref().unwrap_or(&self.files);
        let commit = revision.filter(|_| commit::is_wanted(&self.opened, listed, &options.variables));
        env.extend(commit.into_iter().flat_map(commit::variables));
        Compiled { data, program, env, repository: commit.map(commit::repository).unwrap_or_default() }
    }
}

impl<'a> Asked<'a> {
    /// What options, the `Procfile` and the recipe say, in this order.
    fn of(folder: &Folder, recipe: &'a Recipe, options: &Options, told: &mut Told) -> Result<Self, ProjectError> {
        let given = options.entrypoint.is_some() || options.cmd.is_some();
        let known = recipe.env.iter().chain(&options.env).map(|(name, value)| (name.clone(), value.clone())).collect();
        let wanted = procfile::Wanted { process: options.process.as_deref(), env: &known };
        let procfile::Read { process, notes } =
            if given { procfile::Read::default() } else { procfile::read(&folder.opened, recipe, wanted)? };
        told.notes.extend(notes);
        let has = |path: &String| folder.files.get(path).is_some();
        let by_file = recipe.app.start.iter().find(|start| start.when.iter().any(has)).filter(|_| !given);
        let words = process.as_ref().map(|process| process.words.clone());
        let (entrypoint, cmd) = match words.or(by_file.map(|start| start.cmd.0.clone())) {
            Some(words) => (Words::Given(Vec::new()), Words::Given(words)),
            None => Words::of(recipe, options),
        };
        Ok(Self { process, ports: Vec::new(), entrypoint, cmd })
    }

    /// Whether the command has places, which a language or an entry has to fill in.
    fn has_places(&self) -> bool {
        self.entrypoint.has_places() || self.cmd.has_places()
    }

    /// Settles the command: that of a process, else `of_language`.
    fn settle(&mut self, of_language: Option<Vec<String>>) {
        let words = self.process.as_ref().map(|process| process.words.clone());
        if let Some(words) = words.or(of_language) {
            (self.entrypoint, self.cmd) = (Words::Given(Vec::new()), Words::Given(words));
        }
    }
}

/// A part of the image's command: the recipe's, to be filled in, or the one from options.
enum Words<'a> {
    Recipe(&'a Template),
    Given(Vec<String>),
}

impl<'a> Words<'a> {
    /// The entrypoint and the cmd.
    fn of(recipe: &'a Recipe, options: &Options) -> (Self, Self) {
        match (options.entrypoint.clone(), options.cmd.clone()) {
            (Some(entrypoint), cmd) => (Self::Given(entrypoint), Self::Given(cmd.unwrap_or_default())),
            (None, Some(cmd)) => (Self::Recipe(&recipe.app.entrypoint), Self::Given(cmd)),
            (None, None) => (Self::Recipe(&recipe.app.entrypoint), Self::Recipe(&recipe.app.cmd)),
        }
    }

    fn has_places(&self) -> bool {
        matches!(self, Self::Recipe(template) if template.has_places())
    }

    fn fill(&self, start: &Start, workdir: &str, program: &str) -> Vec<String> {
        match self {
            Self::Recipe(template) if template.has_places() && start.entry.is_empty() => Vec::new(),
            Self::Recipe(template) => template.fill(start, workdir, program),
            Self::Given(words) => words.clone(),
        }
    }
}
