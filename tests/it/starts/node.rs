//! Apps for Node.

use super::{Row, check};

#[test]
fn plain_apps() {
    check(PLAIN);
}

const PLAIN: &[Row] = &[
    (&[("package.json", "{}"), ("index.js", "")], "node: node index.js"),
    (&[("package.json", "{}"), ("server.js", ""), ("app.js", "")], "node: node server.js"),
    (&[("package.json", r#"{"type": "module"}"#), ("app.mjs", "")], "node: node app.mjs"),
    (&[("package.json", r#"{"main": "lib/x.js"}"#), ("lib/x.js", "")], "node: node lib/x.js"),
    (&[("package.json", r#"{"main": "lib"}"#), ("lib/index.js", "")], "node: node lib/index.js"),
    (&[("package.json", r#"{"main": "./server"}"#), ("server.js", "")], "node: node server.js"),
    // The start script comes before main, as on every platform.
    (
        &[
            ("package.json", r#"{"main": "index.js", "scripts": {"start": "node server.js"}}"#),
            ("index.js", ""),
            ("server.js", ""),
        ],
        "node: node server.js",
    ),
    (
        &[("package.json", r#"{"scripts": {"start": "node ./bin/www"}}"#), ("bin/www", ""), ("app.js", "")],
        "node: node bin/www",
    ),
    (&[("package.json", r#"{"scripts": {"start": "node src"}}"#), ("src/index.js", "")], "node: node src/index.js"),
    (
        &[("package.json", r#"{"scripts": {"start": "NODE_ENV=production PORT=80 node a.js --x"}}"#), ("a.js", "")],
        "node: node a.js --x [NODE_ENV=production, PORT=80]",
    ),
    (
        &[("package.json", r#"{"scripts": {"start": "cross-env A=1 node --enable-source-maps a.js"}}"#), ("a.js", "")],
        "node: node --enable-source-maps a.js [A=1]",
    ),
    (
        &[
            (
                "package.json",
                r#"{"scripts": {"start": "npm run serve", "serve": "A=1 node --max-old-space-size=100 app2.js --port 8080"}}"#,
            ),
            ("app2.js", ""),
        ],
        "node: node --max-old-space-size=100 app2.js --port 8080 [A=1]",
    ),
    (
        &[
            ("package.json", r#"{"scripts": {"start": "nodemon server.js"}, "devDependencies": {"nodemon": "3"}}"#),
            ("server.js", ""),
        ],
        "node: node server.js",
    ),
    (
        &[("package.json", r#"{"scripts": {"start": "nodemon", "start:prod": "node server.js"}}"#), ("server.js", "")],
        "node: node server.js",
    ),
    (
        &[
            ("package.json", r#"{"main": "index.js", "scripts": {"dev": "nodemon src/index.js"}}"#),
            ("src/index.js", ""),
        ],
        "node: node src/index.js",
    ),
    (&[("package.json", r#"{"exports": "./lib/main.js"}"#), ("lib/main.js", "")], "node: node lib/main.js"),
    (
        &[("package.json", r#"{"exports": {".": {"import": "./m.mjs"}}}"#), ("m.mjs", ""), ("o.mjs", "")],
        "node: node m.mjs",
    ),
    (&[("package.json", r#"{"bin": "cli.js"}"#), ("cli.js", ""), ("other.js", "")], "node: node cli.js"),
    (&[("package.json", r#"{"bin": {"x": "./cli.js"}}"#), ("cli.js", ""), ("other.js", "")], "node: node cli.js"),
    (&[("package.json", r#"{"name": "bot"}"#), ("worker.js", "")], "node: node worker.js"),
    (&[("package.json", "{}"), ("bot.js", ""), ("util.js", "")], "node: node bot.js"),
    (
        &[("package.json", r#"{"dependencies": {"serve": "14"}, "scripts": {"start": "serve -l 3000 public"}}"#)],
        "node: node node_modules/.bin/serve -l 3000 public",
    ),
    (
        &[
            (
                "package.json",
                r#"{"dependencies": {"@google-cloud/functions-framework": "3"}, "scripts": {"start": "functions-framework --target=hello"}}"#,
            ),
            ("index.js", ""),
        ],
        "node: node node_modules/.bin/functions-framework --target=hello",
    ),
    (
        &[(
            "package.json",
            r#"{"dependencies": {"json-server": "0"}, "scripts": {"start": "json-server db.json --host 0.0.0.0"}}"#,
        )],
        "node: node node_modules/.bin/json-server db.json --host 0.0.0.0",
    ),
    (
        &[
            ("package.json", r#"{"dependencies": {"pm2": "5"}, "scripts": {"start": "pm2-runtime app.js"}}"#),
            ("app.js", ""),
        ],
        "node: node node_modules/.bin/pm2-runtime app.js",
    ),
    (&[("package.json", r#"{"scripts": {"start": "next start"}}"#), ("server.js", "")], "node: node server.js"),
    (
        &[("package.json", r#"{"main": "app.js", "scripts": {"start": "node a.js && node b.js"}}"#), ("app.js", "")],
        "node: node app.js",
    ),
    (&[("package.json", "{}"), ("index.js", ""), ("Procfile", "web: node worker.js\n")], "node: node worker.js"),
    (&[("package.json", r#"{"scripts": {"start": "bun app.js"}}"#), ("app.js", "")], "bun: /app/app"),
];

#[test]
fn apps_that_are_built() {
    check(BUILT);
}

const BUILT: &[Row] = &[
    (
        &[
            (
                "package.json",
                r#"{"scripts": {"build": "tsc", "start": "node dist/index.js"}, "devDependencies": {"typescript": "5"}}"#,
            ),
            ("tsconfig.json", "{}"),
            ("src/index.ts", ""),
        ],
        "node: node dist/index.js [build: npm run build]",
    ),
    (
        &[
            (
                "package.json",
                r#"{"scripts": {"build": "tsc", "start": "node dist/index"}, "devDependencies": {"typescript": "5"}}"#,
            ),
            ("tsconfig.json", "{}"),
            ("src/index.ts", ""),
        ],
        "node: node dist/index.js [build: npm run build]",
    ),
    (
        &[
            (
                "package.json",
                r#"{"main": "dist/app.js", "scripts": {"build": "tsc -p ."}, "devDependencies": {"typescript": "5"}}"#,
            ),
            ("src/app.ts", ""),
        ],
        "node: node dist/app.js [build: npm run build]",
    ),
    (
        &[
            ("package.json", r#"{"scripts": {"build": "tsc"}, "devDependencies": {"typescript": "5"}}"#),
            ("tsconfig.json", "{ // where\n \"compilerOptions\": {\"outDir\": \"./out\",}, }"),
            ("src/server.ts", ""),
        ],
        "node: node out/server.js [build: npm run build]",
    ),
    (
        &[
            (
                "package.json",
                r#"{"scripts": {"start": "tsc && node build/a.js"}, "devDependencies": {"typescript": "5"}}"#,
            ),
            ("tsconfig.json", "{}"),
            ("a.ts", ""),
        ],
        "node: node build/a.js [build: tsc]",
    ),
    (
        &[
            (
                "package.json",
                r#"{"scripts": {"prestart": "npm run build", "build": "tsc", "start": "node dist"}, "devDependencies": {"typescript": "5"}}"#,
            ),
            ("a.ts", ""),
        ],
        "node: node dist/index.js [build: npm run build]",
    ),
    (
        &[
            ("package.json", r#"{"main": "dist/a.js", "devDependencies": {"typescript": "5"}}"#),
            ("tsconfig.json", "{}"),
            ("a.ts", ""),
        ],
        "node: node dist/a.js [build: tsc]",
    ),
    (
        &[
            ("package.json", r#"{"scripts": {"start": "tsx src/index.ts"}, "dependencies": {"tsx": "4"}}"#),
            ("src/index.ts", ""),
        ],
        "node: node node_modules/.bin/tsx src/index.ts",
    ),
    (
        &[
            (
                "package.json",
                r#"{"scripts": {"start": "ts-node src/index.ts"}, "devDependencies": {"ts-node": "10", "typescript": "5"}}"#,
            ),
            ("src/index.ts", ""),
        ],
        "node: node node_modules/.bin/ts-node src/index.ts",
    ),
    (
        &[
            ("package.json", r#"{"scripts": {"dev": "tsx watch src/index.ts"}, "devDependencies": {"tsx": "4"}}"#),
            ("src/index.ts", ""),
        ],
        "node: node node_modules/.bin/tsx src/index.ts",
    ),
    (
        &[
            (
                "package.json",
                r#"{"scripts": {"build": "webpack", "start": "node server.js"}, "devDependencies": {"webpack-cli": "5"}}"#,
            ),
            ("server.js", ""),
            ("src/a.js", ""),
        ],
        "node: node server.js [build: npm run build]",
    ),
    (
        &[
            (
                "package.json",
                r#"{"scripts": {"build": "vite build", "start": "node server.js"}, "devDependencies": {"vite": "6"}}"#,
            ),
            ("server.js", ""),
            ("index.html", ""),
        ],
        "node: node server.js [build: npm run build]",
    ),
    (
        &[
            ("package.json", r#"{"scripts": {"heroku-postbuild": "webpack", "start": "node server.js"}}"#),
            ("server.js", ""),
        ],
        "node: node server.js [build: npm run heroku-postbuild]",
    ),
    (
        &[
            (
                "package.json",
                r#"{"scripts": {"start": "node index.js"}, "dependencies": {"@prisma/client": "6", "prisma": "6"}}"#,
            ),
            ("index.js", ""),
            ("prisma/schema.prisma", ""),
        ],
        "node: node index.js [build: prisma generate]",
    ),
    (
        &[
            (
                "package.json",
                r#"{"scripts": {"build": "tsc", "start": "node dist/a.js"}, "devDependencies": {"prisma": "6"}}"#,
            ),
            ("a.ts", ""),
            ("prisma/schema.prisma", ""),
        ],
        "node: node dist/a.js [build: prisma generate && npm run build]",
    ),
    (
        &[
            (
                "package.json",
                r#"{"scripts": {"build": "prisma generate && tsc", "start": "node dist/a.js"}, "devDependencies": {"prisma": "6"}}"#,
            ),
            ("a.ts", ""),
            ("prisma/schema.prisma", ""),
        ],
        "node: node dist/a.js [build: npm run build]",
    ),
];

#[test]
fn frameworks() {
    check(FRAMEWORKS);
}

const FRAMEWORKS: &[Row] = &[
    (
        &[(
            "package.json",
            r#"{"scripts": {"build": "next build", "start": "next start"}, "dependencies": {"next": "15"}}"#,
        )],
        "node: node server.js [HOSTNAME=0.0.0.0, build: npm run build]",
    ),
    (
        &[("package.json", r#"{"dependencies": {"next": "^14.2.0"}}"#)],
        "node: node server.js [HOSTNAME=0.0.0.0, build: next build]",
    ),
    (
        &[(
            "package.json",
            r#"{"scripts": {"dev": "next dev", "build": "next build", "start": "next start -p 4000"}, "dependencies": {"next": "15"}}"#,
        )],
        "node: node server.js [HOSTNAME=0.0.0.0, PORT=4000, build: npm run build]",
    ),
    (
        &[
            (
                "package.json",
                r#"{"scripts": {"build": "next build", "start": "node server.js"}, "dependencies": {"next": "15"}}"#,
            ),
            ("server.js", ""),
        ],
        "node: node server.js [build: npm run build]",
    ),
    (
        &[(
            "package.json",
            r#"{"scripts": {"build": "next build", "start": "next start"}, "dependencies": {"next": "11.1.0"}}"#,
        )],
        "node: node node_modules/.bin/next start [build: npm run build]",
    ),
    (
        &[("package.json", r#"{"scripts": {"build": "nuxt build"}, "dependencies": {"nuxt": "3"}}"#)],
        "node: node .output/server/index.mjs [build: npm run build]",
    ),
    (
        &[
            (
                "package.json",
                r#"{"scripts": {"build": "vite build", "preview": "vite preview"}, "devDependencies": {"@sveltejs/kit": "2", "@sveltejs/adapter-node": "5", "vite": "6"}}"#,
            ),
            (
                "svelte.config.js",
                "import adapter from '@sveltejs/adapter-node';\nexport default { kit: { adapter: adapter({ out: 'srv' }) } };",
            ),
        ],
        "node: node srv/index.js [build: npm run build]",
    ),
    (
        &[
            (
                "package.json",
                r#"{"scripts": {"build": "vite build"}, "devDependencies": {"@sveltejs/kit": "2", "@sveltejs/adapter-auto": "3", "vite": "6"}}"#,
            ),
            ("svelte.config.js", "import adapter from '@sveltejs/adapter-auto';"),
        ],
        "node: node build/index.js [build: npm run build]",
    ),
    (
        &[(
            "package.json",
            r#"{"scripts": {"build": "react-router build", "start": "react-router-serve ./build/server/index.js"}, "dependencies": {"@react-router/serve": "7"}, "devDependencies": {"@react-router/dev": "7", "vite": "6"}}"#,
        )],
        "node: node node_modules/.bin/react-router-serve ./build/server/index.js [build: npm run build]",
    ),
    (
        &[(
            "package.json",
            r#"{"scripts": {"build": "remix vite:build"}, "dependencies": {"@remix-run/serve": "2"}, "devDependencies": {"@remix-run/dev": "2", "vite": "5"}}"#,
        )],
        "node: node node_modules/.bin/remix-serve ./build/server/index.js [build: npm run build]",
    ),
    (
        &[(
            "package.json",
            r#"{"scripts": {"build": "remix build", "start": "remix-serve build"}, "dependencies": {"@remix-run/serve": "1"}, "devDependencies": {"@remix-run/dev": "1"}}"#,
        )],
        "node: node node_modules/.bin/remix-serve build [build: npm run build]",
    ),
    (
        &[
            (
                "package.json",
                r#"{"scripts": {"build": "astro build", "start": "astro dev"}, "dependencies": {"astro": "5", "@astrojs/node": "9"}}"#,
            ),
            (
                "astro.config.mjs",
                "import node from '@astrojs/node';\nexport default { output: 'server', adapter: node({ mode: 'standalone' }) };",
            ),
        ],
        "node: node dist/server/entry.mjs [HOST=0.0.0.0, build: npm run build]",
    ),
    (
        &[
            (
                "package.json",
                r#"{"scripts": {"build": "nest build", "start": "nest start", "start:prod": "node dist/main"}, "dependencies": {"@nestjs/core": "11"}, "devDependencies": {"@nestjs/cli": "11"}}"#,
            ),
            ("src/main.ts", ""),
        ],
        "node: node dist/main [build: npm run build]",
    ),
    (
        &[(
            "package.json",
            r#"{"scripts": {"build": "vinxi build", "start": "vinxi start"}, "dependencies": {"@solidjs/start": "1", "vinxi": "0.5"}}"#,
        )],
        "node: node .output/server/index.mjs [build: npm run build]",
    ),
    (
        &[(
            "package.json",
            r#"{"scripts": {"build": "vite build", "start": "node .output/server/index.mjs"}, "dependencies": {"@tanstack/react-start": "1", "vite": "6"}}"#,
        )],
        "node: node .output/server/index.mjs [build: npm run build]",
    ),
    (
        &[
            ("package.json", r#"{"scripts": {"build": "node ace build"}, "dependencies": {"@adonisjs/core": "6"}}"#),
            ("ace.js", ""),
        ],
        "node: node bin/server.js [HOST=0.0.0.0, PORT=3333, build: npm run build]",
    ),
    (
        &[(
            "package.json",
            r#"{"scripts": {"build": "qwik build", "serve": "node server/entry.express"}, "devDependencies": {"@builder.io/qwik-city": "1", "vite": "5"}}"#,
        )],
        "node: node server/entry.express [build: npm run build]",
    ),
    (
        &[(
            "package.json",
            r#"{"scripts": {"build": "strapi build", "start": "strapi start"}, "dependencies": {"@strapi/strapi": "5"}}"#,
        )],
        "node: node node_modules/.bin/strapi start [build: npm run build]",
    ),
    (
        &[
            (
                "package.json",
                r#"{"scripts": {"build": "ng build", "serve:ssr:shop": "node dist/shop/server/server.mjs"}, "dependencies": {"@angular/core": "19"}}"#,
            ),
            (
                "angular.json",
                r#"{"projects": {"shop": {"architect": {"build": {"builder": "@angular/build:application", "options": {"ssr": {"entry": "src/server.ts"}}}}}}}"#,
            ),
        ],
        "node: node dist/shop/server/server.mjs [build: npm run build]",
    ),
];
