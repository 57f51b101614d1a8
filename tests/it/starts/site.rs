//! Sites.

use super::{Row, check};

#[test]
fn sites() {
    check(SITES);
}

const NGINX: &str = "site: nginx -p . -e stderr -c nginx.conf";

const SITES: &[Row] = &[
    (&[("index.html", "")], NGINX),
    (&[("index.html", ""), ("style.css", ""), ("README.md", "")], NGINX),
    (&[("public/index.html", "")], NGINX),
    (&[("Staticfile", "root: web\n"), ("web/index.html", "")], NGINX),
    (&[("_site/index.html", "")], NGINX),
    (&[("index.html", ""), ("package.json", r#"{"devDependencies": {"prettier": "3"}}"#)], NGINX),
    (
        &[("index.html", ""), ("index.php", "")],
        "php: httpd -d . -f /etc/microbuild/apache.conf -D FOREGROUND [APACHE_DOCUMENT_ROOT=., APACHE_FALLBACK=disabled, PORT=8080]",
    ),
    (&[("index.html", ""), ("package.json", "{}"), ("server.js", "")], "node: node server.js"),
    (
        &[
            (
                "package.json",
                r#"{"scripts": {"dev": "vite", "build": "tsc -b && vite build", "preview": "vite preview"}, "dependencies": {"react": "19"}, "devDependencies": {"vite": "6"}}"#,
            ),
            ("index.html", ""),
        ],
        "site: nginx -p . -e stderr -c nginx.conf [build: npm run build]",
    ),
    (
        &[
            (
                "package.json",
                r#"{"scripts": {"start": "react-scripts start", "build": "react-scripts build"}, "dependencies": {"react-scripts": "5"}}"#,
            ),
            ("public/index.html", ""),
        ],
        "site: nginx -p . -e stderr -c nginx.conf [build: npm run build]",
    ),
    (
        &[
            (
                "package.json",
                r#"{"scripts": {"start": "ng serve", "build": "ng build"}, "dependencies": {"@angular/core": "19"}}"#,
            ),
            (
                "angular.json",
                r#"{"projects": {"shop": {"architect": {"build": {"builder": "@angular/build:application", "options": {}}}}}}"#,
            ),
        ],
        "site: nginx -p . -e stderr -c nginx.conf [build: npm run build]",
    ),
    (
        &[(
            "package.json",
            r#"{"scripts": {"serve": "vue-cli-service serve", "build": "vue-cli-service build"}, "devDependencies": {"@vue/cli-service": "5"}}"#,
        )],
        "site: nginx -p . -e stderr -c nginx.conf [build: npm run build]",
    ),
    (
        &[(
            "package.json",
            r#"{"scripts": {"dev": "astro dev", "start": "astro dev", "build": "astro build"}, "dependencies": {"astro": "5"}}"#,
        )],
        "site: nginx -p . -e stderr -c nginx.conf [build: npm run build]",
    ),
    (
        &[
            ("package.json", r#"{"scripts": {"build": "next build"}, "dependencies": {"next": "15"}}"#),
            ("next.config.js", "module.exports = { output: 'export' }"),
        ],
        "site: nginx -p . -e stderr -c nginx.conf [build: npm run build]",
    ),
    (
        &[
            (
                "package.json",
                r#"{"scripts": {"build": "vite build"}, "devDependencies": {"@sveltejs/kit": "2", "@sveltejs/adapter-static": "3"}}"#,
            ),
            ("svelte.config.js", "import adapter from '@sveltejs/adapter-static';"),
        ],
        "site: nginx -p . -e stderr -c nginx.conf [build: npm run build]",
    ),
    (
        &[(
            "package.json",
            r#"{"scripts": {"start": "docusaurus start", "build": "docusaurus build"}, "dependencies": {"@docusaurus/core": "3"}}"#,
        )],
        "site: nginx -p . -e stderr -c nginx.conf [build: npm run build]",
    ),
    (
        &[
            (
                "package.json",
                r#"{"scripts": {"docs:build": "vitepress build docs"}, "devDependencies": {"vitepress": "1"}}"#,
            ),
            ("docs/.vitepress/config.ts", ""),
        ],
        "site: nginx -p . -e stderr -c nginx.conf [build: vitepress build docs]",
    ),
    (
        &[("package.json", r#"{"scripts": {"build": "eleventy"}, "devDependencies": {"@11ty/eleventy": "3"}}"#)],
        "site: nginx -p . -e stderr -c nginx.conf [build: npm run build]",
    ),
    (
        &[(
            "package.json",
            r#"{"scripts": {"develop": "gatsby develop", "start": "gatsby develop", "build": "gatsby build"}, "dependencies": {"gatsby": "5"}}"#,
        )],
        "site: nginx -p . -e stderr -c nginx.conf [build: npm run build]",
    ),
    (
        &[("package.json", r#"{"scripts": {"build": "nuxt generate"}, "dependencies": {"nuxt": "3"}}"#)],
        "site: nginx -p . -e stderr -c nginx.conf [build: npm run build]",
    ),
    (
        &[
            (
                "package.json",
                r#"{"scripts": {"build": "react-router build"}, "devDependencies": {"@react-router/dev": "7"}}"#,
            ),
            ("react-router.config.ts", "export default { ssr: false };"),
        ],
        "site: nginx -p . -e stderr -c nginx.conf [build: npm run build]",
    ),
];
