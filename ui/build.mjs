// build.mjs OUTDIR - the page as files that the server embeds: index.html, app-HASH.js, app-HASH.css, favicon.svg.
// Nothing is inline, so that `script-src 'self'; style-src 'self'` holds; the hashed names may be cached for ever.
import { copyFile, mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const here = path.dirname(fileURLToPath(import.meta.url));
const out = process.argv[2] && path.resolve(process.argv[2]);
if (!out) {
    console.error('usage: node build.mjs OUTDIR');
    process.exit(64);
}

await mkdir(out, { recursive: true });
for (const name of await readdir(out))
    if (/^app-[A-Z0-9]+\.(js|css)$/.test(name)) await rm(path.join(out, name));

const { metafile } = await build({
    absWorkingDir: here,
    entryPoints: { app: 'src/main.tsx' },
    outdir: out,
    entryNames: '[name]-[hash]',
    bundle: true,
    minify: true,
    metafile: true,
    format: 'iife',
    target: ['chrome105', 'firefox110', 'safari16'],
    legalComments: 'none',
    logLevel: 'warning',
});

const built = Object.keys(metafile.outputs).map((name) => path.basename(name));
const template = await readFile(path.join(here, 'src/index.html'), 'utf8');
const page = template.replace(/\{\{(js|css)\}\}/g, (_, ext) => built.find((name) => name.endsWith(`.${ext}`)));
await writeFile(path.join(out, 'index.html'), page);
await copyFile(path.join(here, 'src/favicon.svg'), path.join(out, 'favicon.svg'));
