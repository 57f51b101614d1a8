use std::{fs, path::Path};

use super::*;
use crate::error::{Explain as _, Kind};

const SMALL: &str = "name = 'x'\ndescription = 'x'\n[base.alpine]\npackages = ['x']\n";

#[test]
fn every_built_in_recipe_is_one() {
    for &(name, text) in BUILT_IN {
        let recipe = RecipeSearch::default().find(name).unwrap();
        assert_eq!((recipe.name.as_str(), recipe.text.as_str()), (name, text));
        for (base, packages) in recipe.bases() {
            let from = packages.version_from.as_ref().or(recipe.version_from.as_ref());
            let mut all = packages.packages.iter().chain(&packages.dev);
            // Provided by a package of another name, or by one with its version in its name.
            let is_named =
                |from: &Pattern| recipe.app.is_made || base != "alpine" || all.any(|name| from.matches(name));
            assert!(from.is_none_or(is_named), "{name} on {base}");
        }
    }
}

#[test]
fn a_recipe_like_another_says_what_is_different() {
    let node = RecipeSearch::default().find("node").unwrap();
    let text = "name = 'mine'\nlike = 'node'\nstrip = ['usr/share']\n[base.alpine]\ndev = []\n[env]\nA = '1'\n";
    let mine = Recipe::parse(text, "mine.toml").unwrap();
    assert_eq!(mine.name, "mine");
    assert_eq!((&mine.app, &mine.steps, &mine.detect), (&node.app, &node.steps, &node.detect));
    assert_eq!(mine.strip.len(), 1);
    let (own, other) = (mine.base.alpine.unwrap(), node.base.alpine.unwrap());
    assert_eq!((own.packages, own.dev), (other.packages, vec![]));
    assert_eq!(mine.env.into_keys().collect::<Vec<_>>(), ["A", "NODE_ENV"]);

    let mistake = |text: &str| Recipe::parse(text, "mine.toml").unwrap_err().to_string();
    let error = mistake("name = 'mine'\nlike = 'nod'\n");
    assert!(
        error.starts_with("mine.toml:2:8: expected the name of a built-in recipe (") && error.contains("`nod`"),
        "{error}"
    );
    let error = mistake("name = 'mine'\nlike = 'node'\n[app]\ncmdd = ['x']\n");
    assert!(error.starts_with("mine.toml:4:1: unknown key `cmdd`"), "{error}");
}

#[test]
fn of_two_recipes_the_one_that_is_over_the_other_counts() {
    let dir = tempfile::tempdir().unwrap();
    let told = || RecipeSearch::default().detect(dir.path()).map(|found| (found.recipe.name, found.files));
    std::fs::write(dir.path().join("pom.xml"), "").unwrap();
    assert_eq!(told().unwrap(), ("java".into(), vec!["pom.xml".into()]));
    std::fs::create_dir_all(dir.path().join("src/main/kotlin")).unwrap();
    assert_eq!(told().unwrap(), ("kotlin".into(), vec!["src/main/kotlin".into()]));
}

/// The examples of `recipes/README.md` are valid recipes, and together use every key.
#[test]
fn the_documentation_is_right() {
    let text = include_str!("../../recipes/README.md");
    let examples: Vec<&str> = text.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert!(!examples.is_empty());
    for example in &examples {
        Recipe::parse(example, "README.md").unwrap();
    }
    let unknown = Recipe::parse(&format!("zzzzzzzz = 1\n{SMALL}"), "x").unwrap_err().hint().unwrap();
    let in_tables =
        ["workdir", "entrypoint", "cmd", "entry =", "when", "libc =", "packages", "drop", "scratch", "alpine"];
    for key in unknown.trim_start_matches("known here: ").split(", ").chain(in_tables) {
        assert!(examples.iter().any(|example| example.contains(key)), "no example of {key}");
    }
}

#[test]
fn a_users_recipe_wins_over_a_built_in_one() {
    let dir = tempfile::tempdir().unwrap();
    let (app, config) = (dir.path().join("app"), dir.path().join("config"));
    let own = |folder: &Path, name: &str, description: &str| {
        fs::create_dir_all(folder).unwrap();
        let text = SMALL.replacen('x', name, 1).replacen("'x'", &format!("'{description}'"), 1);
        fs::write(folder.join(format!("{name}.toml")), text).unwrap();
    };
    let search = RecipeSearch::new(&app, Some(&config), Trust::Yes);
    assert_eq!(search.find("node").unwrap().origin, Origin::BuiltIn);
    own(&config.join("microbuild/recipes"), "node", "user");
    own(&config.join("microbuild/recipes"), "cobol", "user");
    assert_eq!(search.find("node").unwrap().description, "user");
    own(&app.join("recipes"), "node", "app");
    fs::write(app.join("recipes/notes.txt"), "").unwrap();
    assert_eq!(search.find("node").unwrap().description, "app");
    let path = app.join("recipes/node.toml");
    assert_eq!(search.find(path.to_str().unwrap()).unwrap().origin, Origin::App(path));
    let all: Vec<_> = search.all().unwrap().into_iter().map(|recipe| (recipe.name, recipe.description)).collect();
    let own: Vec<_> = all.iter().filter(|(_, description)| description == "app" || description == "user").collect();
    assert_eq!(own, [&("cobol".into(), "user".into()), &("node".into(), "app".into())]);
    assert_eq!(all.len(), BUILT_IN.len() + 1);

    // The app is not trusted.
    let asking = RecipeSearch::new(&app, Some(&config), Trust::Ask);
    assert!(matches!(asking.find("node"), Err(RecipeError::NotTrusted { .. })));
    assert!(matches!(asking.find_for_app("./node.toml"), Err(RecipeError::NotTrusted { .. })));
    assert_eq!(asking.find("cobol").unwrap().description, "user");
    assert_eq!(asking.find(app.join("recipes/node.toml").to_str().unwrap()).unwrap().description, "app");
    assert_eq!(RecipeSearch::new(&app, Some(&config), Trust::No).find("node").unwrap().description, "user");
}

#[test]
fn files_speak_for_a_recipe() {
    let dir = tempfile::tempdir().unwrap();
    let search = RecipeSearch::new(dir.path(), None, Trust::Yes);
    let told =
        |search: &RecipeSearch| search.detect(dir.path()).map(|found| found.recipe.name).map_err(|e| e.to_string());
    assert!(told(&search).unwrap_err().starts_with("no recipe recognizes the files in "));
    fs::write(dir.path().join("package.json"), "{}").unwrap();
    assert_eq!(told(&search).as_deref(), Ok("node"));
    fs::write(dir.path().join("composer.json"), "{}").unwrap();
    assert_eq!(told(&search).as_deref(), Ok("php"), "nothing of Node's can be started");
    fs::remove_file(dir.path().join("composer.json")).unwrap();
    fs::write(dir.path().join("go.mod"), "").unwrap();
    fs::create_dir(dir.path().join("recipes")).unwrap();
    let cobol = format!("detect = ['*.cob', 'go.mod']\n{}", SMALL.replacen('x', "cobol", 1));
    fs::write(dir.path().join("recipes/cobol.toml"), cobol).unwrap();
    let both = told(&search).unwrap_err();
    assert!(both.ends_with(": cobol (go.mod), go (go.mod)"), "{both}");
    let strangers = told(&RecipeSearch::new(dir.path(), None, Trust::Ask)).unwrap_err();
    assert!(strangers.contains("has its own recipe") && strangers.contains("cobol.toml"), "{strangers}");
    assert_eq!(told(&RecipeSearch::new(dir.path(), None, Trust::No)).as_deref(), Ok("go"));
    fs::write(dir.path().join("recipes/cobol.toml"), "a cake = 3 eggs").unwrap();
    assert_eq!(told(&RecipeSearch::new(dir.path(), None, Trust::Ask)).as_deref(), Ok("go"), "that is no recipe");
}

#[test]
fn strips_what_every_base_strips_and_what_this_one_does() {
    let text = format!("strip = ['usr/share/doc']\n{}strip = ['**/*.h', '!usr/share/doc/keep']\n", SMALL);
    let recipe = Recipe::parse(&text, "x").unwrap();
    let strip = recipe.strip(&Base::default());
    for (path, stripped) in
        [("usr/share/doc/a", true), ("usr/share/doc/keep", false), ("usr/include/a.h", true), ("usr/bin/a", false)]
    {
        assert_eq!(strip.matches(path), stripped, "{path}");
    }
    assert!(!recipe.strip(&Base::scratch(values::Release::default())).matches("usr/include/a.h"));
}

#[test]
fn mistakes_are_shown_at_their_place() {
    let parse = |text: &str| Recipe::parse(text, "recipes/x.toml").map(|_| ());
    let no_recipes = RecipeSearch::default();
    let small = |more: &str| parse(&format!("{SMALL}{more}"));
    let mistakes = [
        parse(""),
        parse("name = 'X'"),
        parse(&SMALL.replace("description", "descripton")),
        parse(&SMALL.replace("base.alpine", "base.alpin")),
        parse(&SMALL.replace("packages", "package")),
        parse(&SMALL.replace("['x']", "['a b']")),
        parse("name = 'x'\ndescription = 'x'\n[base]\n"),
        parse(&format!("language = 'nod'\n{SMALL}")),
        small("[app]\nworkdir = 'app'"),
        small("[app]\ncmd = ['node', '{entri}']"),
        small("[app]\ncmd = ['node', 'x{args}']"),
        small("[app]\ncmd = ['node', '{entry}']"),
        small("strip = ['[']"),
        no_recipes.find("nodejs").map(|_| ()),
        no_recipes.find("cobol").map(|_| ()),
        no_recipes.find("./nowhere/node").map(|_| ()),
        no_recipes.find("./src").map(|_| ()),
        no_recipes.find("").map(|_| ()),
        Recipe::parse(SMALL, "x").unwrap().packages(&Base::scratch(values::Release::default())).map(|_| ()),
    ];
    let texts = mistakes.map(|mistake| {
        let error = mistake.unwrap_err();
        assert_eq!(error.kind(), Kind::Usage);
        format!("{error}\nhint: {}\n", error.hint().unwrap_or_default())
    });
    insta::assert_snapshot!(texts.join("\n"));
}

#[test]
fn a_recipe_goes_by_its_files_name() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("recipes")).unwrap();
    fs::write(dir.path().join("recipes/y.toml"), SMALL).unwrap();
    let error = RecipeSearch::new(dir.path(), None, Trust::Yes).find("y").unwrap_err();
    assert!(error.to_string().ends_with("expected name = \"y\" the name of the file, found \"x\""), "{error}");
}
