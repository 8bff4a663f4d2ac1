// mailbox.ts - the list of messages: its newest part, kept in step with the server by events.
// `rows` is always a run without gaps from the newest message on, so the next page starts at rows.length.
import * as api from './api';
import { plural, name } from './format';
import { type Event, listen } from './live';
import { attempt, say } from './notices';
import { Store } from './store';

export interface Mailbox {
    rows: api.Summary[];
    total: number;
    unread: number;
    selected: ReadonlySet<string>;
    link: 'connecting' | 'live' | 'lost';
    loaded: boolean;
    loading: boolean;
    failure: string;
}

const PAGE = 100;
/** Under a flood the tail is dropped again; scrolling down fetches it. */
const ROWS_MAX = 5000;
const ROWS_KEPT = 1000;

export const mailbox = new Store<Mailbox>({
    rows: [],
    total: 0,
    unread: 0,
    selected: new Set(),
    link: 'connecting',
    loaded: false,
    loading: false,
    failure: '',
});

function withoutDoubles(rows: api.Summary[]): api.Summary[] {
    const seen = new Set<string>();
    return rows.filter((row) => !seen.has(row.ID) && seen.add(row.ID));
}

async function fetchRows(start: number, limit: number, keep: api.Summary[]): Promise<void> {
    mailbox.set({ loading: true });
    try {
        const page = await api.list(start, limit);
        const rows = withoutDoubles([...keep, ...(page.messages ?? [])]);
        mailbox.set({ rows, total: page.total, unread: page.unread, loaded: true, failure: '' });
    } catch (e) {
        mailbox.set({ failure: e instanceof Error ? e.message : String(e) });
    }
    mailbox.set({ loading: false });
    // A deletion in the meantime may have moved what we asked for.
    if (start > 0 && queue.some((event) => event.Type === 'delete')) refreshSoon();
    applyQueue();
}

/** Reads the list again from the top, as far as it was read. */
export function refresh(): Promise<void> {
    const limit = Math.min(Math.max(PAGE, mailbox.value.rows.length), ROWS_KEPT);
    return fetchRows(0, limit, []);
}

let refreshing: number | undefined;
function refreshSoon(): void {
    refreshing ??= window.setTimeout(() => {
        refreshing = undefined;
        void refresh();
    }, 250);
}

export function more(): void {
    const { rows, total, loading, failure, loaded } = mailbox.value;
    if (!loaded || loading || failure || rows.length >= total) return;
    void fetchRows(rows.length, PAGE, rows);
}

// Events come in bursts of thousands a second: they are gathered and applied once a frame, and not while an answer
// is under way that may know them already or not.
let queue: Event[] = [];
let scheduled = false;

function take(event: Event): void {
    queue.push(event);
    if (scheduled) return;
    scheduled = true;
    // A hidden page gets no frames.
    if (document.hidden) window.setTimeout(applyQueue, 100);
    else requestAnimationFrame(applyQueue);
}

function applyQueue(): void {
    scheduled = false;
    if (mailbox.value.loading || !queue.length) return;
    const events = queue;
    queue = [];
    const fresh: api.Summary[] = [];
    const gone = new Set<string>();
    const read = new Map<string, boolean>();
    let { rows, total, unread, selected } = mailbox.value;
    for (const event of events) {
        switch (event.Type) {
            case 'new':
                fresh.push(event.Data);
                total++;
                unread += event.Data.Read ? 0 : 1;
                break;
            case 'update':
                if (event.Data.Read !== undefined) read.set(event.Data.ID, event.Data.Read);
                break;
            case 'delete':
                gone.add(event.Data.ID);
                break;
            case 'truncate':
                fresh.length = 0;
                rows = [];
                selected = new Set();
                total = unread = 0;
                break;
            case 'prune':
                refreshSoon();
                break;
            case 'stats':
                total = event.Data.Total;
                unread = event.Data.Unread;
                break;
        }
    }
    if (fresh.length) {
        rows = withoutDoubles([...fresh.reverse(), ...rows]);
        if (rows.length > ROWS_MAX) rows = rows.slice(0, ROWS_KEPT);
    }
    if (gone.size) {
        rows = rows.filter((row) => !gone.has(row.ID));
        selected = new Set([...selected].filter((id) => !gone.has(id)));
    }
    if (read.size)
        rows = rows.map((row) => (read.has(row.ID) ? { ...row, Read: read.get(row.ID)! } : row));
    mailbox.set({ rows, total, unread, selected });
    announce(fresh);
}

function announce(fresh: api.Summary[]): void {
    const first = fresh[0];
    if (!first) return;
    say(fresh.length > 1 ? `${plural(fresh.length, 'new message')}` : `New message from ${name(first.From)}: ${first.Subject || 'no subject'}`);
}

export function start(): void {
    void refresh();
    listen({
        open(again) {
            mailbox.set({ link: 'live' });
            if (again) {
                say('Connected again');
                void refresh();
            }
        },
        lost() {
            if (mailbox.value.link === 'live') say('Connection lost');
            mailbox.set({ link: 'lost' });
        },
        event: take,
    });
}

export function select(ids: Iterable<string>): void {
    mailbox.set({ selected: new Set(ids) });
}

export function toggle(id: string): void {
    const selected = new Set(mailbox.value.selected);
    if (!selected.delete(id)) selected.add(id);
    mailbox.set({ selected });
}

/** From the first to the second, both included. */
export function selectRange(from: string, to: string): void {
    const ids = mailbox.value.rows.map((row) => row.ID);
    const [a, b] = [ids.indexOf(from), ids.indexOf(to)].sort((x, y) => x - y) as [number, number];
    if (a >= 0) select([...mailbox.value.selected, ...ids.slice(a, b + 1)]);
}

// What the user did is shown at once; the server's events then say the same and change nothing.

function showRead(ids: ReadonlySet<string>, read: boolean): void {
    let { unread } = mailbox.value;
    const rows = mailbox.value.rows.map((row) => {
        if (!ids.has(row.ID) || row.Read === read) return row;
        unread += read ? -1 : 1;
        return { ...row, Read: read };
    });
    mailbox.set({ rows, unread: Math.max(0, unread) });
}

/** The server marks what it hands out. */
export const opened = (id: string): void => showRead(new Set([id]), true);

export async function mark(ids: string[], read: boolean): Promise<void> {
    if (!ids.length) return;
    showRead(new Set(ids), read);
    if (!(await attempt(() => api.mark(ids, read)))) void refresh();
}

export async function remove(ids: string[]): Promise<void> {
    if (!ids.length) return;
    const gone = new Set(ids);
    const { rows, total, unread, selected } = mailbox.value;
    const left = rows.filter((row) => !gone.has(row.ID));
    const wereUnread = rows.filter((row) => gone.has(row.ID) && !row.Read).length;
    mailbox.set({
        rows: left,
        total: Math.max(0, total - (rows.length - left.length)),
        unread: Math.max(0, unread - wereUnread),
        selected: new Set([...selected].filter((id) => !gone.has(id))),
    });
    if (await attempt(() => api.remove(ids))) say(`${plural(ids.length, 'message')} deleted`);
    else void refresh();
}

export async function removeAll(): Promise<void> {
    if (!(await attempt(api.removeAll))) return;
    mailbox.set({ rows: [], total: 0, unread: 0, selected: new Set() });
    say('All messages deleted');
}

export async function markAllRead(): Promise<void> {
    if (await attempt(() => api.markAll(true))) showRead(new Set(mailbox.value.rows.map((row) => row.ID)), true);
}
