//! Apps for Node after the shape of public reports, with packages of the real registry.

use super::deb_mirror::has_release;
use crate::support::{
    tools,
    workbench::{Workbench, app},
};

/// The lock file of [`husky`], as npm writes it without addresses.
const HUSKY_LOCK: &str = r#"{
  "name": "a", "version": "1.0.0", "lockfileVersion": 3, "requires": true,
  "packages": {
    "": {"name": "a", "version": "1.0.0", "dependencies": {"ms": "2.1.3"}, "devDependencies": {"husky": "9.1.7"}},
    "node_modules/husky": {
      "version": "9.1.7", "dev": true, "bin": {"husky": "bin.js"}, "engines": {"node": ">=18"},
      "integrity": "sha512-5gs5ytaNjBrh5Ow3zrvdUUY+0VxIuWVL4i9irt6friV+BqdCfmV11CQTWMiBYWHbXhco+J1kHfTOUkePhCDvMA=="
    },
    "node_modules/ms": {
      "version": "2.1.3",
      "integrity": "sha512-6FlzubTLZG3J2a/NVCAleEhjzq5oxgHyaCU9yYXvcLsvoVaHJq/s5xXI6/XXP6tz7R9xAOtHnSO/tXtF3WRTlA=="
    }
  }
}"#;

const HUSKY: &str = r#"{"name": "a", "version": "1.0.0", "main": "index.js", "scripts": {"prepare": "husky"},
    "dependencies": {"ms": "2.1.3"}, "devDependencies": {"husky": "9.1.7"}}"#;

/// pnpm's lock file of a workspace whose root has no dependencies.
const WORKSPACE_LOCK: &str = "lockfileVersion: '9.0'\n
settings:\n  autoInstallPeers: true\n  excludeLinksFromLockfile: false\n
importers:\n
  .: {}\n
  packages/api:\n    dependencies:\n      '@r/lib':\n        specifier: workspace:*\n        version: link:../lib\n
  packages/lib:\n    dependencies:\n      ms:\n        specifier: 2.1.3\n        version: 2.1.3\n
packages:\n
  ms@2.1.3:
    resolution: {integrity: sha512-6FlzubTLZG3J2a/NVCAleEhjzq5oxgHyaCU9yYXvcLsvoVaHJq/s5xXI6/XXP6tz7R9xAOtHnSO/tXtF3WRTlA==}\n
snapshots:\n
  ms@2.1.3: {}\n";

/// pnpm's lock file of a project that patches a package.
const PATCH_LOCK: &str = "lockfileVersion: '9.0'\n
settings:\n  autoInstallPeers: true\n  excludeLinksFromLockfile: false\n
patchedDependencies:
  ms@2.1.3:
    hash: 0a7c743e8921a7a3d4e12d3be2ae0fef245456b36b767fcf888a7e1467069483
    path: patches/ms@2.1.3.patch\n
importers:\n
  .:
    dependencies:
      ms:
        specifier: 2.1.3
        version: 2.1.3(patch_hash=0a7c743e8921a7a3d4e12d3be2ae0fef245456b36b767fcf888a7e1467069483)\n
packages:\n
  ms@2.1.3:
    resolution: {integrity: sha512-6FlzubTLZG3J2a/NVCAleEhjzq5oxgHyaCU9yYXvcLsvoVaHJq/s5xXI6/XXP6tz7R9xAOtHnSO/tXtF3WRTlA==}\n
snapshots:\n
  ms@2.1.3(patch_hash=0a7c743e8921a7a3d4e12d3be2ae0fef245456b36b767fcf888a7e1467069483): {}\n";

const PATCH: &str = "diff --git a/index.js b/index.js
index ea734fb7382a8c55ec8a7ab6fd8c4dbf6c8eb1ce..1111111111111111111111111111111111111111 100644
--- a/index.js
+++ b/index.js
@@ -1,3 +1,4 @@
+global.patched = true;
 /**
  * Helpers.
  */
";

const PATCHED: &str = r#"{"name": "p", "version": "1.0.0", "main": "index.js", "packageManager": "pnpm@10.34.8",
    "dependencies": {"ms": "2.1.3"}, "pnpm": {"patchedDependencies": {"ms@2.1.3": "patches/ms@2.1.3.patch"}}}"#;

/// A project's own install script needs a package for development; a package is patched; a workspace has members only; the command
/// of the image names a member's file.
#[test]
fn what_the_installation_needs_is_there() {
    if tools(["runc"]).is_none() || !has_release("bookworm", "amd64") {
        return;
    }
    let bench = Workbench::debian("bookworm");
    let day = "console.log(require('ms')('1d'))";
    let husky =
        app(&bench.path("husky"), &[("package.json", HUSKY), ("package-lock.json", HUSKY_LOCK), ("index.js", day)]);
    let patched = app(
        &bench.path("patched"),
        &[
            ("package.json", PATCHED),
            ("pnpm-lock.yaml", PATCH_LOCK),
            ("patches/ms@2.1.3.patch", PATCH),
            ("index.js", "require('ms'); console.log(global.patched)"),
        ],
    );
    let workspace = app(
        &bench.path("workspace"),
        &[
            ("package.json", r#"{"name": "r", "private": true, "packageManager": "pnpm@10.34.8"}"#),
            ("pnpm-workspace.yaml", "packages: [\"packages/*\"]\n"),
            ("pnpm-lock.yaml", WORKSPACE_LOCK),
            (
                "packages/api/package.json",
                r#"{"name": "@r/api", "version": "1.0.0", "dependencies": {"@r/lib": "workspace:*"}}"#,
            ),
            ("packages/api/index.js", "console.log(require('@r/lib'))"),
            (
                "packages/lib/package.json",
                r#"{"name": "@r/lib", "version": "1.0.0", "main": "index.js", "dependencies": {"ms": "2.1.3"}}"#,
            ),
            ("packages/lib/index.js", "module.exports = require('ms')('2d')"),
        ],
    );
    for (folder, options, said) in [
        (&husky, &["-t", "husky:1"][..], "86400000\n"),
        (&patched, &["-t", "patched:1"], "true\n"),
        (&workspace, &["-t", "workspace:1", "--cmd", "node packages/api/index.js"], "172800000\n"),
    ] {
        bench.build(folder, options);
        let name = options[1];
        assert_eq!(bench.microbuild(["run", name, "-q"]).succeeds(), said, "{name}");
    }
}
