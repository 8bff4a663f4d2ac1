// ui.test.mjs - the pure parts of the page, without a browser.
import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath, pathToFileURL } from 'node:url';

const ui = fileURLToPath(new URL('../../ui/', import.meta.url));
let folder, format, detail;

before(async () => {
    const { build } = await import(pathToFileURL(path.join(ui, 'node_modules/esbuild/lib/main.js')));
    folder = await mkdtemp(path.join(os.tmpdir(), 'penfold-ui-'));
    await build({
        absWorkingDir: ui,
        entryPoints: ['src/format.ts', 'src/detail.ts'],
        outdir: folder,
        outExtension: { '.js': '.mjs' },
        bundle: true,
        format: 'esm',
    });
    [format, detail] = await Promise.all(['format', 'detail'].map((name) => import(pathToFileURL(path.join(folder, `${name}.mjs`)))));
});
after(() => folder && rm(folder, { recursive: true }));

test('sizes and durations', () => {
    for (const [bytes, text] of [[0, '0 B'], [999, '999 B'], [1000, '1.0 KB'], [1536, '1.5 KB'], [52428800, '50 MB'], [1 << 30, '1.0 GB']])
        assert.equal(format.size(bytes), text);
    for (const [us, text] of [[0, '0 ms'], [120, '120 µs'], [1500, '1.5 ms'], [9000, '9 ms'], [31_000, '31 ms'], [2_500_000, '2.50 s']])
        assert.equal(format.duration(us), text);
});

test('dates that no calendar has are no dates', () => {
    for (const text of ['', null, undefined, 'yesterday', '0001-01-01T00:00:00Z']) assert.equal(format.date(text), null);
    assert.equal(format.date('2026-01-02T03:04:05Z').getTime(), Date.UTC(2026, 0, 2, 3, 4, 5));
});

test('links end where the sentence goes on', () => {
    const found = (text) => format.links(text).filter((p) => p.href).map((p) => p.href);
    const rows = [
        ['see https://a.example/x.', ['https://a.example/x']],
        ['(https://a.example/x)', ['https://a.example/x']],
        ['https://a.example/x_(y).', ['https://a.example/x_(y)']],
        ['<http://a.example?b=1&c=2>', ['http://a.example?b=1&c=2']],
        ['javascript:alert(1) ftp://a.example http://', []],
        ['HTTP://A.example, https://b.example!', ['HTTP://A.example', 'https://b.example']],
    ];
    for (const [text, links] of rows) {
        assert.deepEqual(found(text), links);
        assert.equal(format.links(text).map((p) => p.text).join(''), text);
    }
});

test('links are found in linear time', () => {
    const started = performance.now();
    for (const piece of ['http://' + ')'.repeat(1990) + 'a ', 'http://', 'https://a.example/('])
        format.links(piece.repeat(Math.ceil(300_000 / piece.length)));
    assert.ok(performance.now() - started < 2000);
});

test('a transcript tells client, server and events apart', () => {
    const lines = detail.transcript('0 S: 220 ready\n3 C: EHLO a\n4 S: 550 no\n5 *: 10 bytes of message\n... 7 bytes left out ...\n');
    assert.deepEqual(lines.map((l) => [l.side, l.text, l.refusal]), [
        ['server', '220 ready', false],
        ['client', 'EHLO a', false],
        ['server', '550 no', true],
        ['note', '10 bytes of message', false],
        ['note', '... 7 bytes left out ...', false],
    ]);
});

test('phases keep their microseconds and their order', () => {
    const e = { Connected: '2026-01-02T03:04:05.000001Z', Handshake: null, Mail: '2026-01-02T03:04:05.000250Z', Received: '2026-01-02T03:04:06.1Z' };
    const phases = detail.phases(e);
    assert.deepEqual(phases.map((p) => p.name), ['Connected', 'MAIL accepted', 'Message complete']);
    assert.deepEqual(phases.map((p) => p.atUs - phases[0].atUs), [0, 249, 1_099_999]);
});

test('faults are named; bytes above 127 only when nobody announced them', () => {
    const e = { BareLF: 1, BareCR: 0, NUL: 2, LongLines: 0, EightBit: 5, SenderParams: 'SIZE=1' };
    assert.equal(detail.faults(e).length, 3);
    assert.match(detail.faults(e)[0], /^One line ends in a lone LF/);
    assert.match(detail.faults(e)[1], /^2 NUL bytes/);
    assert.equal(detail.faults({ ...e, SenderParams: 'BODY=8BITMIME' }).length, 2);
});
