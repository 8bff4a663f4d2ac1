// app.tsx - the page: bar, list, message, keyboard.
import { useEffect, useRef, useState } from 'preact/hooks';
import * as api from './api';
import * as format from './format';
import { Icon, Logo } from './icons';
import { List, selectAll } from './list';
import { type Actions, goTab, MessageView } from './message';
import { mailbox, mark, markAllRead, remove, removeAll, select, toggle } from './mailbox';
import { drop, notices } from './notices';
import { Button, Dialog, useLoaded } from './parts';
import { go, leave, place, plainClick } from './router';
import { useStore } from './store';
import { nextTheme, theme } from './theme';
import { Welcome } from './welcome';

/** Below this width the list and the message are screens of their own; the style sheet knows it too. */
const WIDE = window.matchMedia('(min-width: 1000px)');

function useNarrow(): boolean {
    const [narrow, setNarrow] = useState(!WIDE.matches);
    useEffect(() => {
        const look = () => setNarrow(!WIDE.matches);
        WIDE.addEventListener('change', look);
        return () => WIDE.removeEventListener('change', look);
    }, []);
    return narrow;
}

const rowLink = (id: string): HTMLElement | null => document.querySelector(`.row a[data-id="${CSS.escape(id)}"]`);
const focusedRow = (): string | undefined => (document.activeElement as HTMLElement | null)?.dataset.id;

/** The message that a key is about: the focused row, else the open message. */
const current = (): string | null => focusedRow() ?? place.value.id;

function neighbour(id: string | null, by: number): string | null {
    const { rows } = mailbox.value;
    const at = rows.findIndex((r) => r.ID === id);
    return (at < 0 ? rows[0] : rows[at + by])?.ID ?? null;
}

function step(by: 1 | -1): void {
    const { id, tab } = place.value;
    const next = neighbour(id ?? focusedRow() ?? null, by);
    if (next === null) return;
    if (id !== null) go(next, tab, true);
    else rowLink(next)?.focus();
}

function removeAndGoOn(ids: string[]): void {
    const { id, tab } = place.value;
    const focused = focusedRow();
    const gone = new Set(ids);
    const after = (from: string) => {
        const { rows } = mailbox.value;
        const at = rows.findIndex((r) => r.ID === from);
        return (rows.slice(at + 1).find((r) => !gone.has(r.ID)) ?? rows.slice(0, Math.max(at, 0)).findLast((r) => !gone.has(r.ID)))?.ID ?? null;
    };
    if (id !== null && gone.has(id)) {
        const then = WIDE.matches ? after(id) : null;
        if (then === null) leave();
        else go(then, tab, true);
    }
    const next = focused && gone.has(focused) ? after(focused) : null;
    void remove(ids);
    if (next) requestAnimationFrame(() => rowLink(next)?.focus());
}

const actions: Actions = { back: leave, step, remove: removeAndGoOn };

/** What a key like # is about: the selected ones, else the current one. */
function targets(): string[] {
    const { selected } = mailbox.value;
    const one = current();
    return selected.size ? [...selected] : one === null ? [] : [one];
}

function toggleRead(): void {
    const ids = targets();
    const { rows } = mailbox.value;
    const unread = rows.some((r) => ids.includes(r.ID) && !r.Read);
    void mark(ids, unread);
}

function escape(): void {
    if (mailbox.value.selected.size) select([]);
    else leave();
}

const KEYS: { keys: string[]; shown: string; does: string; run: () => void }[] = [
    { keys: ['j'], shown: 'j', does: 'Older message', run: () => step(1) },
    { keys: ['k'], shown: 'k', does: 'Newer message', run: () => step(-1) },
    { keys: ['u'], shown: 'u', does: 'Mark as unread or read', run: toggleRead },
    { keys: ['#', 'Delete'], shown: '#  Delete', does: 'Delete', run: () => removeAndGoOn(targets()) },
    {
        keys: ['x'],
        shown: 'x',
        does: 'Select or unselect',
        run: () => {
            const id = current();
            if (id !== null) toggle(id);
        },
    },
    { keys: ['a'], shown: 'a', does: 'Select all, or none', run: selectAll },
    { keys: ['Escape'], shown: 'Esc', does: 'Unselect, or back to the list', run: escape },
];

const MORE_KEYS: [string, string][] = [
    ['↑  ↓', 'Move in the list'],
    ['Enter', 'Open'],
    ['1 … 7', 'Tab of the message'],
    ['?', 'This help'],
];

function onKey(e: KeyboardEvent, help: () => void): void {
    const at = e.target as HTMLElement;
    if (e.ctrlKey || e.metaKey || e.altKey || e.defaultPrevented || document.querySelector('dialog[open]')) return;
    if (at.matches('textarea, select, input:not([type=checkbox])') || at.isContentEditable) return;
    const arrow = { ArrowDown: 1, ArrowUp: -1 }[e.key] as 1 | -1 | undefined;
    if (arrow && (at === document.body || at.closest('.list'))) {
        e.preventDefault();
        const to = neighbour(focusedRow() ?? place.value.id, arrow);
        if (to !== null) rowLink(to)?.focus();
        return;
    }
    if (/^[1-7]$/.test(e.key) && place.value.id !== null) goTab(place.value.id, Number(e.key) - 1);
    else if (e.key === '?') help();
    else KEYS.find((k) => k.keys.includes(e.key))?.run();
}

export function App() {
    const { id, tab } = useStore(place);
    const narrow = useNarrow();
    const [dialog, setDialog] = useState<'' | 'help' | 'delete'>('');
    useTitle();
    useFocusOnReturn(id);
    useEffect(() => {
        const key = (e: KeyboardEvent) => onKey(e, () => setDialog('help'));
        document.addEventListener('keydown', key);
        return () => document.removeEventListener('keydown', key);
    }, []);
    return (
        <>
            <Bar help={() => setDialog('help')} />
            <main class={id === null ? 'at-list' : 'at-message'}>
                <section class="list-pane" id="list" tabIndex={-1} aria-label="List of messages" inert={narrow && id !== null}>
                    <ListBar deleteAll={() => setDialog('delete')} />
                    <List narrow={narrow} />
                </section>
                {id !== null && (
                    <section class="message-pane" aria-label="Message">
                        <MessageView id={id} tab={tab} narrow={narrow} actions={actions} />
                    </section>
                )}
                {id === null && !narrow && <Aside />}
            </main>
            {dialog === 'help' && <Help onClose={() => setDialog('')} />}
            {dialog === 'delete' && <DeleteAll onClose={() => setDialog('')} />}
            <Notices />
        </>
    );
}

/** Whoever comes back to the list stands where he left it. */
function useFocusOnReturn(id: string | null): void {
    const before = useRef(id);
    useEffect(() => {
        if (id === null && before.current !== null) rowLink(before.current)?.focus();
        before.current = id;
    }, [id]);
}

function Aside() {
    const { rows, loaded } = useStore(mailbox);
    return (
        <section class="message-pane" aria-label="Message">
            {loaded && <Welcome empty={!rows.length} />}
        </section>
    );
}

function useTitle(): void {
    const { unread } = useStore(mailbox);
    useEffect(() => {
        document.title = unread ? `(${format.count(unread)}) Penfold` : 'Penfold';
    }, [unread]);
}

const LINKS = { live: 'Live', connecting: 'Connecting', lost: 'Connection lost' };
const THEMES = { auto: 'Theme: as the system', light: 'Theme: light', dark: 'Theme: dark' };

function Bar({ help }: { help: () => void }) {
    const { total, unread, link, loaded } = useStore(mailbox);
    const { mode } = useStore(theme);
    const skip = (e: MouseEvent) => {
        e.preventDefault();
        document.getElementById('list')?.focus();
    };
    const home = (e: MouseEvent) => {
        if (!plainClick(e)) return;
        e.preventDefault();
        leave();
        document.querySelector('.list')?.scrollTo({ top: 0 });
    };
    return (
        <header class="bar">
            <a class="skip" href="#list" onClick={skip}>
                Skip to the messages
            </a>
            <a class="home" href="/" onClick={home}>
                <Logo />
                <h1>Penfold</h1>
            </a>
            {loaded && (
                <p class="counts">
                    <span>{format.plural(total, 'message')}</span>
                    {unread > 0 && <span class="counts-unread">{format.count(unread)} unread</span>}
                </p>
            )}
            <span class="push" />
            <span class={`link-state ${link}`} title={LINKS[link]}>
                <span class="dot" aria-hidden="true" />
                <span class="link-name">{LINKS[link]}</span>
            </span>
            <Button icon={mode === 'auto' ? 'auto' : mode === 'light' ? 'sun' : 'moon'} label={THEMES[mode]} onClick={nextTheme} />
            <Button icon="help" label="Keyboard help" keys="?" onClick={help} />
        </header>
    );
}

function ListBar({ deleteAll }: { deleteAll: () => void }) {
    const { rows, selected, unread, total, link } = useStore(mailbox);
    const box = useRef<HTMLInputElement>(null);
    const some = selected.size > 0;
    const every = some && selected.size >= rows.length;
    useEffect(() => {
        if (box.current) box.current.indeterminate = some && !every;
    });
    const ids = [...selected];
    return (
        <>
            {link === 'lost' && (
                <p class="lost" role="status">
                    <Icon name="warning" /> Connection lost. Trying again …
                </p>
            )}
            <div class="list-bar" role="toolbar" aria-label="Messages">
                <label class="pick">
                    <input type="checkbox" ref={box} checked={every} disabled={!rows.length} aria-label="Select all" onClick={selectAll} />
                </label>
                {some ? (
                    <>
                        <span class="selected-count" role="status">
                            {format.count(selected.size)} selected
                        </span>
                        <span class="push" />
                        <Button icon="read" label="Mark as read" onClick={() => void mark(ids, true)} />
                        <Button icon="unread" label="Mark as unread" onClick={() => void mark(ids, false)} />
                        <Button icon="trash" label="Delete the selected" keys="#" danger onClick={() => removeAndGoOn(ids)} />
                        <Button icon="close" label="Unselect" keys="Escape" onClick={() => select([])} />
                    </>
                ) : (
                    <>
                        <span class="push" />
                        <Button icon="read" text="Mark all read" label="Mark all read" disabled={!unread} onClick={() => void markAllRead()} />
                        <Button icon="trash" text="Delete all" label="Delete all" danger disabled={!total} onClick={deleteAll} />
                    </>
                )}
            </div>
        </>
    );
}

function DeleteAll({ onClose }: { onClose: () => void }) {
    const { total } = useStore(mailbox);
    const sure = () => {
        leave();
        void removeAll();
        onClose();
    };
    return (
        <Dialog title="Delete all messages?" onClose={onClose}>
            <p>{total === 1 ? 'The message' : `All ${format.count(total)} messages`} will be gone for good.</p>
            <div class="dialog-buttons">
                <button type="button" class="plain" onClick={onClose} autofocus>
                    Cancel
                </button>
                <button type="button" class="plain dangerous" onClick={sure}>
                    Delete all
                </button>
            </div>
        </Dialog>
    );
}

function Help({ onClose }: { onClose: () => void }) {
    const { value } = useLoaded('info', () => api.info());
    return (
        <Dialog title="Keyboard" onClose={onClose}>
            <dl class="keys">
                {[...KEYS.map((k) => [k.shown, k.does] as const), ...MORE_KEYS].map(([shown, does]) => (
                    <div key={shown}>
                        <dt>
                            {shown.split('  ').map((key) => (
                                <kbd key={key}>{key}</kbd>
                            ))}
                        </dt>
                        <dd>{does}</dd>
                    </div>
                ))}
            </dl>
            <p class="hint">Shift-click selects up to a message, Ctrl-click adds one.</p>
            {value && <p class="hint">Penfold {value.Version}</p>}
        </Dialog>
    );
}

function Notices() {
    const { notes, spoken } = useStore(notices);
    return (
        <>
            <p class="visually-hidden" aria-live="polite">
                {spoken}
            </p>
            <div class="notes" role="log" aria-live="assertive">
                {notes.map((n) => (
                    <p key={n.key} class={n.bad ? 'bad' : ''}>
                        <span>{n.text}</span>
                        <Button icon="close" label="Dismiss" onClick={() => drop(n.key)} />
                    </p>
                ))}
            </div>
        </>
    );
}
