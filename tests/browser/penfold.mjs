// penfold.mjs - what the browser tests share: a sandbox of their own, a small SMTP client, a browser.
import { spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { chromium } from 'playwright-core';

const root = fileURLToPath(new URL('../..', import.meta.url));
const penfold = path.resolve(root, process.env.BUILD ?? 'build', 'penfold');
const START_MS = 20_000;
const STOP_MS = 10_000;
const REPLY_MS = 15_000;

function freePort() {
    return new Promise((resolve, reject) => {
        const server = net.createServer();
        server.once('error', reject);
        server.listen(0, '127.0.0.1', () => {
            const { port } = server.address();
            server.close(() => resolve(port));
        });
    });
}

/** A sandbox on free ports with a directory of its own.  stop() and start() again keep ports and data. */
export class Sandbox {
    static async create() {
        const s = new Sandbox();
        s.smtp = await freePort();
        s.http = await freePort();
        s.url = `http://127.0.0.1:${s.http}`;
        process.once('exit', () => s.process?.kill('SIGTERM')); /* whatever became of the test */
        s.data = await mkdtemp(path.join(os.tmpdir(), 'penfold-browser-'));
        await s.start();
        return s;
    }

    async start() {
        const flags = ['--data', this.data, '--smtp', `127.0.0.1:${this.smtp}`, '--http', `127.0.0.1:${this.http}`, '--smtps', 'off'];
        this.said = '';
        this.process = spawn(penfold, ['sandbox', ...flags], { stdio: ['ignore', 'pipe', 'pipe'] });
        this.ended = new Promise((resolve) => this.process.once('close', resolve));
        for (const stream of [this.process.stdout, this.process.stderr]) stream.on('data', (d) => (this.said += d));
        this.process.once('error', (e) => (this.said += e.message));
        const deadline = Date.now() + START_MS;
        while (!(await this.ready())) {
            if (this.process.exitCode !== null || Date.now() > deadline) throw new Error(`the sandbox did not start:\n${this.said}`);
            await wait(50);
        }
    }

    async ready() {
        const answer = await fetch(`${this.url}/readyz`, { signal: AbortSignal.timeout(1000) }).catch(() => null);
        return answer?.status === 200;
    }

    async stop() {
        this.process.kill('SIGTERM');
        const killer = setTimeout(() => this.process.kill('SIGKILL'), STOP_MS);
        await this.ended;
        clearTimeout(killer);
    }

    async remove() {
        await this.stop();
        await rm(this.data, { recursive: true, force: true });
    }

    async api(where, init) {
        const answer = await fetch(`${this.url}/api/v1/${where}`, init);
        if (!answer.ok) throw new Error(`${where}: ${answer.status} ${await answer.text()}`);
        return answer;
    }

    clear() {
        return this.api('messages', { method: 'DELETE' });
    }

    /** Sends one message and gives its id, which the last 250 tells. */
    async send(mail) {
        const { raw, from, to } = typeof mail === 'string' ? { raw: mail } : { raw: compose(mail), ...mail.envelope };
        const said = await deliver(this.smtp, from ?? 'app@example.com', to ?? ['you@example.com'], raw);
        const id = /\b[0-9A-Za-z]{22}\b/.exec(said)?.[0];
        if (!id) throw new Error(`no id in: ${said}`);
        return id;
    }
}

/** Speaks SMTP; every command waits for its reply. */
async function deliver(port, from, to, raw) {
    const socket = net.connect(port, '127.0.0.1');
    socket.setTimeout(REPLY_MS, () => socket.destroy(new Error('no reply in time')));
    let text = '';
    let failed;
    let wake = () => {};
    socket.on('data', (d) => ((text += d), wake()));
    socket.on('error', (e) => ((failed = e), wake()));
    socket.on('close', () => ((failed ??= new Error(`closed after: ${text}`)), wake()));
    const reply = async (expected) => {
        for (;;) {
            const found = /^(?:\d{3}-.*\r\n)*(\d{3}) .*\r\n/.exec(text);
            if (found) {
                text = text.slice(found[0].length);
                if (found[1][0] !== expected) throw new Error(`unexpected reply: ${found[0]}`);
                return found[0];
            }
            if (failed) throw failed;
            await new Promise((resolve) => (wake = resolve));
        }
    };
    const say = (line, expected = '2') => (socket.write(`${line}\r\n`), reply(expected));
    try {
        await reply('2');
        await say('EHLO browser.test');
        await say(`MAIL FROM:<${from}>`);
        for (const rcpt of to) await say(`RCPT TO:<${rcpt}>`);
        await say('DATA', '3');
        const said = await say(raw.replace(/^\./gm, '..').replace(/(\r\n)?$/, '\r\n') + '.');
        await say('QUIT');
        return said;
    } finally {
        socket.destroy();
    }
}

const word = (text) => (/^[\x20-\x7e]*$/.test(text) ? text : `=?utf-8?B?${Buffer.from(text).toString('base64')}?=`);
const body = (text) => Buffer.from(text).toString('base64').replace(/.{76}/g, '$&\r\n');

function part({ type, content, name, cid }) {
    const fields = [`Content-Type: ${type}`, 'Content-Transfer-Encoding: base64'];
    if (name !== undefined) fields.push(`Content-Disposition: attachment; filename="${name.replace(/["\\]/g, '\\$&')}"`);
    if (cid) fields.push(`Content-ID: <${cid}>`);
    return `${fields.join('\r\n')}\r\n\r\n${body(content)}\r\n`;
}

/** A message of text, HTML and attachments ({type, content, name, cid}); what is absent is left out. */
export function compose({ subject, from = 'App <app@example.com>', to = 'You <you@example.com>', date, text, html, attachments = [], headers = [] }) {
    const parts = [];
    if (text !== undefined) parts.push({ type: 'text/plain; charset=utf-8', content: text });
    if (html !== undefined) parts.push({ type: 'text/html; charset=utf-8', content: html });
    parts.push(...attachments);
    const fields = [`From: ${from}`, `To: ${to}`, `Date: ${date ?? new Date().toUTCString()}`, 'MIME-Version: 1.0', ...headers];
    if (subject !== undefined) fields.push(`Subject: ${word(subject)}`);
    const kind = attachments.length ? 'related' : 'alternative';
    fields.push(`Content-Type: multipart/${kind}; boundary=frontier`);
    return `${fields.join('\r\n')}\r\n\r\n${parts.map((p) => `--frontier\r\n${part(p)}`).join('')}--frontier--\r\n`;
}

export function launch() {
    return chromium.launch({
        executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
        args: [
            '--no-sandbox', '--headless', '--disable-gpu', '--disable-background-networking', '--no-first-run', '--disable-sync',
            '--disable-component-update',
        ],
    });
}

/** A page that keeps what must not happen: errors, dialogs, refusals of the page's own policy. */
export async function openPage(browser, sandbox, where = '/', options = {}) {
    const context = await browser.newContext({ viewport: { width: 1440, height: 900 }, ...options });
    const page = await context.newPage();
    page.setDefaultTimeout(10_000);
    page.wrong = [];
    page.on('pageerror', (e) => page.wrong.push(`error: ${e.message}`));
    page.on('dialog', (d) => (page.wrong.push(`dialog: ${d.message()}`), d.dismiss()));
    await page.goto(sandbox.url + where);
    await page.locator('.list-pane').waitFor();
    return page;
}
