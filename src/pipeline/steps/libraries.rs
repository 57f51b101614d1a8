//! The libraries that a step's result is linked with. They come from packages; without them the app would not start.

use super::{Made, Output, Steps, is_foreign};
use crate::{
    elf::Elf,
    lock::{Lock, Needs},
    pipeline::{BuildError, LinkError, linked, programs, system::System},
    plan::Plan,
    rootfs::{Programs, RootfsError},
};

impl Steps<'_> {
    /// Finds the files of packages that the result of `output` is linked with. The packages are those of the dev
    /// variant, in which the result was made. For another processor they are the image's own: the dev variant's
    /// programs are not for it.
    pub(super) fn libraries(
        &self,
        output: &Output<'_>,
        made: &Made,
        plan: &Plan,
        lock: &Lock,
    ) -> Result<Needs, BuildError> {
        let step = output.job.step;
        let platform = output.job.platform;
        let workdir = plan.configuration.workdir.trim_matches('/');
        let mut programs = Programs { extra: plan.library_path(), ..Programs::default() };
        for (keep, files) in step.keep.iter().zip(&made.kept).filter(|(keep, _)| keep.layer.is_some()) {
            let more = programs::read(&made.folder(keep)?, files, workdir, Vec::new());
            programs.files.extend(more.files);
            programs.links.extend(more.links);
        }
        let kept = programs::keep(&mut programs, plan.arch(platform), None);
        // Installed packages may hold programs for many processors; a compiled result is for this image's.
        if let (Err(file), true) = (kept, step.leaves_out()) {
            return Err(LinkError::Processor { platform: platform.clone(), file }.into());
        }
        let libc = plan.base.libc();
        programs.files.retain(|_, elf| is_for_libc(elf, libc));
        if programs.files.is_empty() {
            return Ok(Needs::new());
        }
        let may_lack = |path: &str| {
            let inside = path.strip_prefix(workdir).unwrap_or(path).trim_start_matches('/');
            !is_loaded_by_language(inside) || step.plugins.iter().any(|pattern| pattern.matches(inside))
        };
        let found = if is_foreign(platform) {
            System::new(plan, lock, self.request.compression, self.fetcher)?.needs(&programs, &may_lack)
        } else {
            output.variant.system.needs(&programs, &may_lack)
        };
        found.map_err(|error| match error {
            BuildError::Rootfs(RootfsError::Closure(missing)) => linked::lacks(missing, plan, platform, self.fetcher),
            other => other,
        })
    }
}

/// Whether the file may be for the C library `libc`: nothing in it names another one. Packages of Node and Python bring
/// programs for both.
fn is_for_libc(elf: &Elf, libc: &str) -> bool {
    let interpreter = elf.interpreter.as_deref().unwrap_or_default();
    let mut names = elf.needed.iter().map(String::as_str).chain([interpreter]);
    match libc {
        "musl" => !names.any(|name| name.starts_with("libc.so.") || name.contains("/ld-linux")),
        _ => !names.any(|name| name.starts_with("libc.musl-") || name == "libc.so" || name.contains("/ld-musl-")),
    }
}

/// Whether the language itself loads the file: an extension module of Lua, Perl, Python or Ruby, or an addon of Node.
/// Without its libraries the app fails. Any other library may be an optional plugin.
fn is_loaded_by_language(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    name.ends_with(".node")
        || name.ends_with(".abi3.so")
        || (name.ends_with(".so") && name.contains(".cpython-"))
        || (name.ends_with(".so")
            && !name.starts_with("lib")
            && ["/auto/", "/extensions/", "/lib/lua/"].iter().any(|folder| path.contains(folder)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::elf::testing::Draft;

    #[test]
    fn programs_for_the_other_c_library_do_not_count() {
        let elf = |draft: Draft| Elf::of_bytes(&draft.bytes()).expect("ELF").expect("a program");
        for (draft, glibc, musl) in [
            (Draft::new().needed("libc.so.6"), true, false),
            (Draft::new().needed("libc.musl-x86_64.so.1"), false, true),
            (Draft::new().interpreter("/lib64/ld-linux-x86-64.so.2"), true, false),
            (Draft::new().interpreter("/lib/ld-musl-x86_64.so.1"), false, true),
            (Draft::new().needed("libpq.so.5"), true, true),
        ] {
            let elf = elf(draft);
            assert_eq!((is_for_libc(&elf, "glibc"), is_for_libc(&elf, "musl")), (glibc, musl), "{:?}", elf.needed);
        }
    }

    #[test]
    fn what_a_language_loads_is_no_plugin() {
        for path in [
            "site-packages/psycopg2/_psycopg.cpython-311-x86_64-linux-gnu.so",
            "site-packages/cv2/cv2.abi3.so",
            "node_modules/x/build/Release/x.node",
            "bundle/extensions/x86_64-linux/3.1.0/pg-1.5/pg_ext.so",
            "local/lib/perl5/x86_64-linux-gnu/auto/DBD/Pg/Pg.so",
            "lua_modules/lib/lua/5.4/luasql/postgres.so",
        ] {
            assert!(is_loaded_by_language(path), "{path}");
        }
        for path in ["site-packages/PyQt5/Qt5/plugins/platforms/libqxcb.so", "a/libx.so.1", "gdal/plugins/gdal_x.so"] {
            assert!(!is_loaded_by_language(path), "{path}");
        }
    }
}
