// message.tsx - one message: who, what, when, and its tabs.
import { Fragment, type FunctionComponent } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';
import * as api from './api';
import * as detail from './detail';
import * as format from './format';
import { Icon } from './icons';
import { mailbox, mark, opened } from './mailbox';
import { Button, Failure, useLoaded, Waiting } from './parts';
import { address, go, plainClick } from './router';
import { useStore } from './store';
import { Attachments, Headers, Html, Raw, Session, Structure, Text } from './tabs';

interface Tab {
    key: string;
    label: string;
    view: FunctionComponent<{ message: api.Message }>;
    /** Absent: every message has it. */
    has?: (m: api.Message) => boolean;
    badge?: (m: api.Message) => number;
}

const attachmentCount = (m: api.Message): number => (m.Attachments?.length ?? 0) + (m.Inline?.length ?? 0);

const TABS: Tab[] = [
    { key: 'html', label: 'HTML', view: Html, has: (m) => m.HTML !== '' },
    { key: 'text', label: 'Text', view: Text },
    { key: 'attachments', label: 'Attachments', view: Attachments, has: (m) => attachmentCount(m) > 0, badge: attachmentCount },
    { key: 'headers', label: 'Headers', view: Headers },
    { key: 'session', label: 'Session', view: Session },
    { key: 'structure', label: 'Structure', view: Structure },
    { key: 'raw', label: 'Raw', view: Raw },
];

const tabsOf = (m: api.Message): Tab[] => TABS.filter((t) => t.has?.(m) ?? true);

/** What the digit keys choose; kept here because only the message knows which tabs it has. */
let shownTabs: Tab[] = [];
export function goTab(id: string, n: number): void {
    const tab = shownTabs[n];
    if (tab) go(id, tab.key, true);
}

export interface Actions {
    back: () => void;
    step: (by: 1 | -1) => void;
    remove: (ids: string[]) => void;
}

export function MessageView({ id, tab, narrow, actions }: { id: string; tab: string; narrow: boolean; actions: Actions }) {
    const { value, failure, again } = useLoaded(id, (signal) => api.message(id, signal));
    const { rows } = useStore(mailbox);
    const index = rows.findIndex((r) => r.ID === id);
    const read = rows[index]?.Read ?? true;
    const screen = useRef<HTMLElement>(null);

    useEffect(() => {
        if (value) opened(id);
    }, [value]);
    // On a phone the message is a screen of its own: reading goes on there.
    useEffect(() => {
        if (narrow) screen.current?.focus();
    }, [id]);

    return (
        <article class="message" ref={screen} tabIndex={-1} aria-label="Message">
            <div class="message-bar" role="toolbar" aria-label="Message">
                <a
                    class="button only-narrow"
                    href={address(null)}
                    aria-label="Back to the list"
                    title="Back to the list"
                    onClick={(e) => {
                        if (!plainClick(e)) return;
                        e.preventDefault();
                        actions.back();
                    }}
                >
                    <Icon name="back" />
                </a>
                <Button icon="up" label="Newer message" keys="k" disabled={index <= 0} onClick={() => actions.step(-1)} />
                <Button icon="down" label="Older message" keys="j" disabled={index < 0 || index >= rows.length - 1} onClick={() => actions.step(1)} />
                {index >= 0 && (
                    <span class="message-position">
                        {format.count(index + 1)} of {format.count(mailbox.value.total)}
                    </span>
                )}
                <span class="push" />
                <Button
                    icon={read ? 'unread' : 'read'}
                    label={read ? 'Mark as unread' : 'Mark as read'}
                    keys="u"
                    disabled={!value}
                    onClick={() => void mark([id], !read)}
                />
                <a class="button" href={`${api.path.raw(id)}?dl=1`} download={`${id}.eml`} aria-label="Download .eml" title="Download .eml">
                    <Icon name="download" />
                </a>
                <Button icon="trash" label="Delete" keys="#" danger disabled={!value} onClick={() => actions.remove([id])} />
                <Button icon="close" label="Close" keys="Escape" onClick={actions.back} />
            </div>
            {failure && <Missing error={failure} again={again} />}
            {!failure && !value && <Waiting what="the message" />}
            {value && <Loaded message={value} tab={tab} />}
        </article>
    );
}

const Missing = ({ error, again }: { error: Error; again: () => void }) =>
    error instanceof api.Refused && error.status === 404 ? (
        <Failure error={new Error('There is no such message. It may have been deleted.')} />
    ) : (
        <Failure error={error} again={again} />
    );

function Loaded({ message, tab }: { message: api.Message; tab: string }) {
    const tabs = tabsOf(message);
    const chosen = tabs.find((t) => t.key === tab) ?? tabs[0]!;
    const View = chosen.view;
    const { value: envelope } = useLoaded(message.ID, (signal) => api.envelope(message.ID, signal));
    shownTabs = tabs;
    return (
        <>
            <Head message={message} />
            <TabList message={message} tabs={tabs} chosen={chosen} faults={envelope ? detail.faults(envelope).length : 0} />
            <div class={`panel panel-${chosen.key}`} role="tabpanel" id="panel" aria-labelledby={`tab-${chosen.key}`} tabIndex={0} key={message.ID + chosen.key}>
                <View message={message} />
            </div>
        </>
    );
}

interface TabListProps {
    message: api.Message;
    tabs: Tab[];
    chosen: Tab;
    /** What the client did wrong: told on the tab that has it, or nobody would look there. */
    faults: number;
}

function TabList({ message, tabs, chosen, faults }: TabListProps) {
    const list = useRef<HTMLDivElement>(null);
    useEffect(() => {
        list.current?.querySelector('[aria-selected=true]')?.scrollIntoView({ block: 'nearest', inline: 'nearest' });
    }, [chosen.key]);
    const keydown = (e: KeyboardEvent) => {
        const at = tabs.indexOf(chosen);
        const to = { ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: tabs.length - 1 }[e.key];
        if (to === undefined) return;
        e.preventDefault();
        const next = tabs[(to + tabs.length) % tabs.length]!;
        go(message.ID, next.key, true);
        list.current?.querySelector<HTMLElement>(`#tab-${next.key}`)?.focus();
    };
    return (
        <div class="tabs" role="tablist" aria-label="Views of the message" ref={list} onKeyDown={keydown}>
            {tabs.map((t) => {
                const badge = t.badge?.(message) ?? 0;
                return (
                    <button
                        type="button"
                        role="tab"
                        key={t.key}
                        id={`tab-${t.key}`}
                        aria-selected={t === chosen}
                        aria-controls="panel"
                        tabIndex={t === chosen ? 0 : -1}
                        onClick={() => go(message.ID, t.key, true)}
                    >
                        {t.label}
                        {badge > 0 && <span class="badge">{badge}</span>}
                        {t.key === 'session' && faults > 0 && (
                            <span class="badge warn" title={format.plural(faults, 'fault of the client', 'faults of the client')}>
                                <Icon name="warning" />
                                <span class="visually-hidden">{format.plural(faults, 'fault')}</span>
                            </span>
                        )}
                    </button>
                );
            })}
        </div>
    );
}

function Head({ message: m }: { message: api.Message }) {
    const date = format.date(m.Date);
    const from = m.From;
    return (
        <header class="message-head">
            <h2 dir="auto">{m.Subject.trim() || <em>no subject</em>}</h2>
            <dl class="who">
                <div>
                    <dt>From</dt>
                    <dd>{from ? <Who address={from} /> : <em>no sender</em>}</dd>
                </div>
                <People label="To" list={m.To} />
                <People label="Cc" list={m.Cc} />
                <People label="Bcc" list={m.Bcc} />
                <People label="Reply to" list={m.ReplyTo} />
                <div>
                    <dt>Date</dt>
                    <dd>
                        {date ? (
                            <time dateTime={m.Date} title={m.Date}>
                                {format.mediumDate(date)}
                            </time>
                        ) : (
                            <em>no valid date</em>
                        )}
                        {` · ${format.size(m.Size)}`}
                    </dd>
                </div>
            </dl>
        </header>
    );
}

const Who = ({ address: a }: { address: api.Address }) => (
    <bdi class="address">
        {a.Name.trim() && <b>{a.Name} </b>}
        <span>{a.Name.trim() ? `<${a.Address}>` : a.Address}</span>
    </bdi>
);

const FEW = 4;

function People({ label, list }: { label: string; list: api.Address[] | null }) {
    const [all, setAll] = useState(false);
    if (!list?.length) return null;
    const shown = all || list.length <= FEW + 1 ? list : list.slice(0, FEW);
    return (
        <div>
            <dt>{label}</dt>
            <dd class={all ? 'all-people' : ''}>
                {shown.map((a, i) => (
                    <Fragment key={i}>
                        {i > 0 && ', '}
                        <Who address={a} />
                    </Fragment>
                ))}
                {list.length > FEW + 1 && (
                    <button type="button" class="link" aria-expanded={all} onClick={() => setAll(!all)}>
                        {all ? 'show fewer' : `and ${format.count(list.length - FEW)} more`}
                    </button>
                )}
            </dd>
        </div>
    );
}
