// page.test.mjs - the web page against a real sandbox in a real browser.
import assert from 'node:assert/strict';
import http from 'node:http';
import { after, afterEach, before, beforeEach, test } from 'node:test';
import { launch, openPage, Sandbox } from './penfold.mjs';

let sandbox, browser, page;

before(async () => {
    [sandbox, browser] = await Promise.all([Sandbox.create(), launch()]);
});
after(async () => {
    await browser?.close();
    await sandbox?.remove();
});
beforeEach(() => sandbox.clear());
afterEach(async () => {
    await page?.context().close();
    page = undefined;
});

const open = async (where, options) => (page = await openPage(browser, sandbox, where, options));
const row = (subject) => page.locator('.row', { hasText: subject });
const tab = (name) => page.getByRole('tab', { name });
const heading = () => page.locator('.message-head h2');
const eventually = async (value, expected) => {
    const deadline = Date.now() + 10_000;
    for (;;) {
        const is = await value();
        if (is === expected) return;
        if (Date.now() > deadline) assert.equal(is, expected);
        await page.waitForTimeout(25);
    }
};
const unread = () => sandbox.api('messages').then((a) => a.json()).then((list) => list.unread);
const PNG = Buffer.from(
    'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==',
    'base64',
);

test('an empty page tells how to send; a message then appears by itself and opens', async () => {
    await open();
    await page.getByText('Ready for the first message').waitFor();
    await page.locator('.listeners code', { hasText: `127.0.0.1:${sandbox.smtp}` }).waitFor();
    await page.locator('.link-state.live').waitFor();

    await sandbox.send({ subject: 'Live and well', text: 'Good morning.', html: '<p>Good <b>morning</b>.</p>' });
    await row('Live and well').waitFor();
    await eventually(() => page.title(), '(1) Penfold');
    assert.match(await row('Live and well').getAttribute('class'), /\bunread\b/);

    await row('Live and well').getByRole('link').click();
    await eventually(() => heading().textContent(), 'Live and well');
    await page.frameLocator('iframe').getByText('Good morning.').waitFor();
    await eventually(() => page.title(), 'Penfold');
    await eventually(unread, 0);
    assert.deepEqual(page.wrong, []);
});

/** A site somewhere else that keeps what it is asked for. */
async function outside(use) {
    const asked = [];
    const server = http.createServer((request, answer) => {
        asked.push(request);
        if (request.url.endsWith('.png')) answer.writeHead(200, { 'Content-Type': 'image/png' }).end(PNG);
        else answer.writeHead(200, { 'Content-Type': 'text/html' }).end('<title>Outside</title>');
    });
    await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
    try {
        await use(`http://127.0.0.1:${server.address().port}`, asked);
    } finally {
        server.closeAllConnections();
        server.close();
    }
}

test("a mail's HTML runs nothing, sends nothing, reaches nothing", () =>
    outside(async (site, asked) => {
        const id = await sandbox.send({
            subject: 'Trouble',
            html: `<h1>Looks harmless</h1>
                <script>parent.document.title = 'pwned'; alert(1)</script><script src="${site}/script"></script>
                <img src="x" onerror="alert(2)"><svg onload="alert(3)"></svg><body onload="alert(4)">
                <img src="${site}/image.png"><link rel="stylesheet" href="${site}/sheet"><object data="${site}/object"></object>
                <style>@import "${site}/import"; body { background: url(${site}/background.png) }</style>
                <iframe src="${site}/frame"></iframe><iframe srcdoc="<script>top.document.title='pwned'</script>"></iframe>
                <video src="${site}/video" autoplay></video><link rel="prefetch" href="${site}/prefetch">
                <meta http-equiv="refresh" content="0;url=${site}/refresh"><base href="${site}/base/">
                <a id="js" href="javascript:alert(5)">a link</a> <a id="top" href="${site}/top" target="_top">out</a>
                <form action="${site}/form"><button id="send">send</button></form>`,
        });
        await open();
        await row('Trouble').getByRole('link').click();
        const mail = page.frameLocator('.frame-room iframe');
        await mail.getByText('Looks harmless').waitFor();
        for (const target of ['#js', '#top', '#send'])
            await mail.locator(target).click({ timeout: 2000 }).catch(() => {}); /* it may have been taken out */
        await tab('Headers').click(); /* the page itself still works */
        await page.locator('.headers').waitFor();

        assert.deepEqual(page.wrong, []);
        assert.deepEqual(asked.map((request) => request.url), []);
        assert.equal(await page.title(), 'Penfold');
        assert.equal(new URL(page.url()).pathname, `/view/${id}`);
    }));

test('mail cannot write into the page: subject, sender, file names and text are text', async () => {
    const bang = '<img src=x onerror=alert(1)>';
    const id = await sandbox.send({
        subject: `${bang} & <b>bold</b>`,
        from: `"${bang}" <evil@example.com>`,
        text: `${bang}<script>alert(2)</script>`,
        attachments: [{ type: 'text/html', content: '<script>document.title="pwned";alert(3)</script>', name: `${bang}.html` }],
        headers: [`X-Evil: ${bang}`],
    });
    await open();
    await row(`${bang} & <b>bold</b>`).getByRole('link').click();
    await eventually(() => heading().textContent(), `${bang} & <b>bold</b>`);
    await page.locator('.mail-text', { hasText: bang }).waitFor();
    await tab('Attachments').click();
    await page.locator('.attachment-name', { hasText: `${bang}.html` }).waitFor();
    for (const name of ['Headers', 'Structure', 'Raw', 'Session']) {
        await tab(name).click();
        await page.locator('.panel .padded').waitFor();
    }
    assert.equal(await page.locator('img[src="x"]').count(), 0);
    assert.deepEqual(page.wrong, []);

    // The same HTML as a page of its own, where no frame protects.
    const { Attachments } = await (await sandbox.api(`message/${id}`)).json();
    await page.goto(`${sandbox.url}/api/v1/message/${id}/part/${Attachments[0].PartID}`).catch(() => {});
    assert.notEqual(await page.title(), 'pwned');
    assert.deepEqual(page.wrong, []);
});

test('the tabs show text, headers, raw, attachments, session and structure', async () => {
    const id = await sandbox.send({
        subject: 'Größe 日本語 🚀',
        from: 'Ada <ada@example.com>',
        text: 'Zwölf Boxkämpfer. See https://example.org/a?b=1.\r\n',
        html: '<p>Zwölf</p><img src="cid:dot@test" id="dot">',
        attachments: [
            { type: 'image/png', content: PNG, name: 'dot.png', cid: 'dot@test' },
            { type: 'application/pdf', content: 'not really', name: 'report.pdf' },
        ],
        headers: ['X-Trace: one', 'X-Trace: two'],
    });
    await open(`/view/${id}`);
    await eventually(() => heading().textContent(), 'Größe 日本語 🚀');
    const dot = page.frameLocator('.frame-room iframe').locator('#dot');
    await eventually(() => dot.evaluate((img) => img.naturalWidth), 1);

    await tab('Text').click();
    await page.locator('.mail-text', { hasText: 'Zwölf Boxkämpfer' }).waitFor();
    const link = page.locator('.mail-text a');
    assert.equal(await link.getAttribute('href'), 'https://example.org/a?b=1');
    assert.match(await link.getAttribute('rel'), /noopener/);

    await tab('Headers').click();
    await page.locator('.headers tr', { hasText: 'X-Trace' }).first().waitFor();
    assert.deepEqual(await page.locator('.headers tr', { hasText: 'X-Trace' }).locator('td').allTextContents(), ['one', 'two']);

    await tab('Raw').click();
    await page.locator('.raw', { hasText: 'X-Trace: two' }).waitFor();
    const download = page.waitForEvent('download');
    await page.getByText('Download .eml').click();
    assert.equal((await download).suggestedFilename(), `${id}.eml`);

    await tab('Attachments').click();
    await page.locator('.attachment', { hasText: 'report.pdf' }).getByText('application/pdf').waitFor();
    const thumbnail = page.locator('.attachment', { hasText: 'dot.png' }).locator('img');
    await eventually(() => thumbnail.evaluate((img) => img.naturalWidth), 1);

    await tab('Session').click();
    await page.locator('.transcript .client', { hasText: 'MAIL FROM:<app@example.com>' }).waitFor();
    await page.locator('.transcript .server', { hasText: id }).waitFor();
    await page.locator('.facts', { hasText: 'browser.test' }).waitFor();
    await page.locator('.phases', { hasText: 'Message complete' }).waitFor();
    assert.equal(await page.locator('.faults').count(), 0);

    await tab('Structure').click();
    await page.locator('.tree', { hasText: 'application/pdf' }).waitFor();
    assert.match(page.url(), new RegExp(`/view/${id}#structure$`));
    assert.deepEqual(page.wrong, []);
});

test('faults of framing are shown as warnings', async () => {
    const id = await sandbox.send(`From: a@example.com\r\nSubject: Faulty\r\n\r\nlone LF here\nand a long line\r\n${'x'.repeat(1200)}\r\n`);
    await open(`/view/${id}#session`);
    await page.locator('[role=tab] .badge.warn').waitFor();
    await page.locator('.faults', { hasText: 'lone LF' }).waitFor();
    await page.locator('.faults', { hasText: '998' }).waitFor();
});

test('a link in a mail opens a tab of its own that knows nothing of this one', () =>
    outside(async (site, asked) => {
        const id = await sandbox.send({ subject: 'Linked', html: `<a href="${site}/">Go</a>` });
        await open(`/view/${id}`);
        const opened = page.context().waitForEvent('page');
        await page.frameLocator('.frame-room iframe').getByText('Go').click();
        const other = await opened;
        await eventually(() => other.title(), 'Outside');
        assert.equal(await other.evaluate(() => window.opener), null);
        assert.equal(asked[0].headers.referer, undefined);
    }));

test('remote images are fetched only when asked for', () =>
    outside(async (site, asked) => {
        const id = await sandbox.send({ subject: 'Tracked', html: `<p>Hello</p><img id="pixel" src="${site}/pixel.png">` });
        await open(`/view/${id}`);
        const mail = page.frameLocator('.frame-room iframe');
        await mail.getByText('Hello').waitFor();
        await page.waitForLoadState('networkidle');
        assert.equal(asked.length, 0);
        await page.getByText('Show remote images').click();
        await eventually(() => mail.locator('#pixel').evaluate((img) => img.naturalWidth).catch(() => 0), 1);
        assert.equal(asked[0].headers.referer, undefined);
    }));

test('several are selected, marked and deleted; all are deleted after a question', async () => {
    for (const n of [1, 2, 3, 4]) await sandbox.send({ subject: `Message ${n}`, text: 'x' });
    await open();
    await row('Message 4').waitFor();
    await row('Message 4').getByRole('checkbox').click();
    await row('Message 2').getByRole('checkbox').click({ modifiers: ['Shift'] });
    await page.getByText('3 selected').waitFor();
    await page.getByRole('button', { name: 'Mark as read' }).click();
    await eventually(unread, 1);
    await page.getByRole('button', { name: 'Mark as unread' }).click();
    await eventually(unread, 4);
    await page.getByRole('button', { name: 'Delete the selected' }).click();
    await eventually(() => page.locator('.row').count(), 1);
    await row('Message 1').waitFor();
    await eventually(() => sandbox.api('messages').then((a) => a.json()).then((list) => list.total), 1);

    await page.getByRole('button', { name: 'Delete all' }).click();
    const dialog = page.getByRole('dialog');
    await dialog.getByRole('button', { name: 'Cancel' }).click();
    await row('Message 1').waitFor();
    await page.getByRole('button', { name: 'Delete all' }).click();
    await dialog.getByRole('button', { name: 'Delete all' }).click();
    await page.getByText('Ready for the first message').waitFor();
    await eventually(() => sandbox.api('messages').then((a) => a.json()).then((list) => list.total), 0);
});

test('what another window does is seen here', async () => {
    const id = await sandbox.send({ subject: 'Shared', text: 'x' });
    await sandbox.send({ subject: 'Other', text: 'x' });
    await open();
    await row('Shared').waitFor();
    await page.locator('.link-state.live').waitFor();
    const send = (method, body) => sandbox.api('messages', { method, body: JSON.stringify(body) });
    await send('PUT', { IDs: [id], Read: true });
    await page.locator('.row:not(.unread)', { hasText: 'Shared' }).waitFor();
    await send('DELETE', { IDs: [id] });
    await row('Shared').waitFor({ state: 'detached' });
    await sandbox.clear();
    await page.getByText('Ready for the first message').waitFor();
});

test('the keyboard is enough', async () => {
    for (const n of [1, 2, 3]) await sandbox.send({ subject: `Key ${n}`, text: 'x' });
    await open();
    await row('Key 3').waitFor();
    await page.keyboard.press('j');
    await page.keyboard.press('j');
    await page.keyboard.press('Enter');
    await eventually(() => heading().textContent(), 'Key 2');
    await page.keyboard.press('j');
    await eventually(() => heading().textContent(), 'Key 1');
    await page.keyboard.press('k');
    await eventually(() => heading().textContent(), 'Key 2');
    await eventually(unread, 1);
    await page.keyboard.press('u');
    await eventually(unread, 2);
    await page.keyboard.press('#');
    await row('Key 2').waitFor({ state: 'detached' });
    await eventually(() => heading().textContent(), 'Key 1');
    await page.keyboard.press('?');
    await page.getByRole('dialog', { name: 'Keyboard' }).waitFor();
    await page.keyboard.press('Escape');
    await page.getByRole('dialog').waitFor({ state: 'detached' });
    await page.keyboard.press('Escape');
    await heading().waitFor({ state: 'detached' });
    assert.equal(new URL(page.url()).pathname, '/');
});

test('on a phone the list and the message are screens of their own', async () => {
    await sandbox.send({ subject: 'Small screen', text: 'It fits.' });
    await open('/', { viewport: { width: 390, height: 844 } });
    await row('Small screen').getByRole('link').click();
    await page.locator('.mail-text', { hasText: 'It fits.' }).waitFor();
    assert.equal(await page.locator('.list-pane').getAttribute('inert'), '');
    await page.getByRole('link', { name: 'Back to the list' }).click();
    await heading().waitFor({ state: 'detached' });
    await page.goForward();
    await eventually(() => heading().textContent(), 'Small screen');
    await page.goBack();
    await heading().waitFor({ state: 'detached' });
    await row('Small screen').waitFor();
});

test('no mail breaks the layout', async () => {
    const long = 'Averyveryverylongwordwithoutanyspace'.repeat(9);
    const many = Array.from({ length: 200 }, (_, i) => `Recipient ${i} <recipient.${i}@a.long.domain.example>`).join(',\r\n ');
    await sandbox.send({ subject: long, from: `"${'L'.repeat(200)}" <l@example.com>`, to: many, text: 'z'.repeat(3000) });
    await sandbox.send('\r\nno header at all\r\n');
    await sandbox.send({ subject: 'فاتورة شهر نوفمبر (INV-118)', date: 'the day before yesterday', text: 'السلام عليكم' });
    await sandbox.send({ subject: '🎉'.repeat(150), text: '【重要】システムメンテナンスのお知らせ'.repeat(40) });
    for (const width of [360, 820, 1440]) {
        await open('/', { viewport: { width, height: 800 } });
        await eventually(() => page.locator('.row').count(), 4);
        for (let n = 0; n < 4; n++) {
            await page.locator('.row a').nth(n).click();
            await page.locator('.mail-text').waitFor();
            const wide = await page.evaluate(() =>
                [...document.querySelectorAll('.bar, .list, .message-bar, .message-head, .panel')]
                    .filter((e) => e.scrollWidth > e.clientWidth)
                    .map((e) => e.className),
            );
            assert.deepEqual(wide, []);
            if (width < 1000) await page.getByRole('link', { name: 'Back to the list' }).click();
        }
        assert.deepEqual(page.wrong, []);
        await page.context().close();
    }
});

test('light and dark follow the system until told otherwise', async () => {
    const ground = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
    const isDark = async () => Number(/\d+/.exec(await ground())[0]) < 128;
    await open('/', { colorScheme: 'dark' });
    assert.equal(await isDark(), true);
    await page.emulateMedia({ colorScheme: 'light' });
    await eventually(isDark, false);
    await page.getByRole('button', { name: /^Theme/ }).click();
    await page.getByRole('button', { name: /^Theme/ }).click();
    await page.getByRole('button', { name: 'Theme: dark' }).waitFor();
    assert.equal(await isDark(), true);
    await page.reload();
    assert.equal(await isDark(), true);
});

test('a lost connection is shown, and what came meanwhile is there after it', async () => {
    await sandbox.send({ subject: 'Before', text: 'x' });
    await open();
    await page.locator('.link-state.live').waitFor();
    await sandbox.stop();
    await page.getByText('Connection lost. Trying again').waitFor();
    await sandbox.start();
    await sandbox.send({ subject: 'Meanwhile', text: 'x' });
    await page.locator('.link-state.live').waitFor({ timeout: 30_000 });
    await row('Meanwhile').waitFor();
    await row('Before').waitFor();
});

test('a long list is fetched as it is scrolled, and stays where it is when mail arrives', async () => {
    for (let n = 1; n <= 130; n++) await sandbox.send({ subject: `Long ${n}`, text: 'x' });
    await open();
    await row('Long 130').waitFor();
    assert.ok((await page.locator('.row').count()) < 60);
    const list = page.locator('.list');
    await list.evaluate((e) => e.scrollTo(0, e.scrollHeight));
    await eventually(async () => (await list.evaluate((e) => e.scrollTo(0, e.scrollHeight)), row('Long 1').filter({ hasText: /Long 1x/ }).count()), 1);
    const before = await row('Long 10').filter({ hasText: /Long 10x/ }).boundingBox();
    await sandbox.send({ subject: 'On top', text: 'x' });
    await page.getByRole('button', { name: '1 new message' }).waitFor();
    const now = await row('Long 10').filter({ hasText: /Long 10x/ }).boundingBox();
    assert.equal(Math.round(now.y), Math.round(before.y));
    await page.getByRole('button', { name: '1 new message' }).click();
    await row('On top').waitFor();
});

test('a message that is not there says so', async () => {
    await open(`/view/${'0'.repeat(22)}`);
    await page.getByText('There is no such message').waitFor();
});
