// list.tsx - the list of messages.  Rows have one height (--row in the style sheet), and only those in sight exist.
import type { RefObject } from 'preact';
import { useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks';
import type { Summary } from './api';
import * as format from './format';
import { Icon } from './icons';
import { mailbox, more, refresh, select, selectRange, toggle } from './mailbox';
import { Failure } from './parts';
import { address, go, place, plainClick } from './router';
import { useStore } from './store';
import { Welcome } from './welcome';

const BEYOND = 8; /* rows that exist above and below those in sight */

interface View {
    top: number;
    height: number;
    row: number;
}

/** The scroller, and which rows are in sight. */
function useSight(): [RefObject<HTMLDivElement | null>, View] {
    const scroller = useRef<HTMLDivElement>(null);
    const [view, setView] = useState<View>({ top: 0, height: 1200, row: 80 });
    useLayoutEffect(() => {
        const element = scroller.current!;
        const look = () =>
            setView({
                top: element.scrollTop,
                height: element.clientHeight,
                row: parseFloat(getComputedStyle(element).getPropertyValue('--row')) || 80,
            });
        look();
        element.addEventListener('scroll', look, { passive: true });
        const resized = new ResizeObserver(look);
        resized.observe(element);
        return () => {
            element.removeEventListener('scroll', look);
            resized.disconnect();
        };
    }, []);
    return [scroller, view];
}

export function List({ narrow }: { narrow: boolean }) {
    const { rows, total, loaded, loading, failure, selected } = useStore(mailbox);
    const { id: open, tab } = useStore(place);
    const [scroller, { top, height, row }] = useSight();
    const [unseen, setUnseen] = useState(0);
    const anchor = useRef<string | null>(null);
    useSteadyScroll(scroller, rows, row, (n) => setUnseen((before) => before + n));
    useEffect(() => {
        if (top < row) setUnseen(0);
    }, [top < row]);

    const from = Math.max(0, Math.floor(top / row) - BEYOND);
    const to = Math.min(rows.length, Math.ceil((top + height) / row) + BEYOND);
    useEffect(() => {
        if (to + BEYOND >= rows.length) more();
    }, [to, rows.length, total, loading]);

    // Opening by keyboard may leave the message out of sight.
    const index = open === null ? -1 : rows.findIndex((r) => r.ID === open);
    useEffect(() => {
        const element = scroller.current!;
        if (index < 0) return;
        if (index * row < element.scrollTop) element.scrollTop = index * row;
        else if ((index + 1) * row > element.scrollTop + element.clientHeight)
            element.scrollTop = (index + 1) * row - element.clientHeight;
    }, [open]);

    const pick = (id: string, range: boolean) => {
        if (range && anchor.current) selectRange(anchor.current, id);
        else toggle(id);
        anchor.current = id;
    };
    const click = (e: MouseEvent, id: string) => {
        if (e.shiftKey || e.ctrlKey || e.metaKey) {
            e.preventDefault();
            if (e.shiftKey && !anchor.current) anchor.current = open ?? id;
            pick(id, e.shiftKey);
        } else if (plainClick(e)) {
            e.preventDefault();
            anchor.current = id;
            go(id, tab, open !== null);
        }
    };

    return (
        <div class="list" ref={scroller}>
            {unseen > 0 && (
                <button type="button" class="unseen" onClick={() => scroller.current!.scrollTo({ top: 0 })}>
                    <Icon name="up" /> {format.plural(unseen, 'new message')}
                </button>
            )}
            {failure && <Failure error={new Error(failure)} again={() => void refresh()} />}
            {loaded && !rows.length && !failure && (narrow ? <Welcome empty /> : <p class="nothing">No messages yet</p>)}
            {!loaded && !failure && <Skeleton />}
            <ul aria-label="Messages" style={{ height: `${rows.length * row}px` }}>
                {rows.slice(from, to).map((m, i) => (
                    <Row
                        key={m.ID}
                        message={m}
                        offset={(from + i) * row}
                        position={from + i + 1}
                        total={total}
                        open={m.ID === open}
                        selected={selected.has(m.ID)}
                        onOpen={(e) => click(e, m.ID)}
                        onPick={(e) => pick(m.ID, e.shiftKey)}
                    />
                ))}
            </ul>
            {loaded && rows.length > 0 && rows.length < total && (
                <button type="button" class="plain more" disabled={loading} onClick={more}>
                    {loading ? 'Loading …' : `Load more of ${format.count(total - rows.length)}`}
                </button>
            )}
        </div>
    );
}

/** Whoever reads further down stays where he is when mail arrives above; how much came is told to `above`. */
function useSteadyScroll(
    scroller: RefObject<HTMLDivElement | null>,
    rows: Summary[],
    row: number,
    above: (count: number) => void,
): void {
    const first = useRef<string | undefined>(undefined);
    useLayoutEffect(() => {
        const element = scroller.current!;
        const before = first.current;
        first.current = rows[0]?.ID;
        if (before === undefined || element.scrollTop < row) return;
        const added = rows.findIndex((r) => r.ID === before);
        if (added <= 0) return;
        element.scrollTop += added * row;
        above(added);
    }, [rows]);
}

interface RowProps {
    message: Summary;
    offset: number;
    position: number;
    total: number;
    open: boolean;
    selected: boolean;
    onOpen: (e: MouseEvent) => void;
    onPick: (e: MouseEvent) => void;
}

function Row({ message: m, offset, position, total, open, selected, onOpen, onPick }: RowProps) {
    const date = format.date(m.Created);
    const to = [...(m.To ?? []), ...(m.Cc ?? []), ...(m.Bcc ?? [])];
    const subject = m.Subject.trim();
    return (
        <li
            class={`row${m.Read ? '' : ' unread'}${open ? ' open' : ''}${selected ? ' selected' : ''}`}
            style={{ transform: `translateY(${offset}px)` }}
            aria-setsize={total}
            aria-posinset={position}
        >
            <label class="pick">
                <input
                    type="checkbox"
                    checked={selected}
                    aria-label={`Select: ${subject || 'no subject'}`}
                    onClick={(e) => {
                        e.stopPropagation();
                        onPick(e);
                    }}
                />
            </label>
            <a href={address(m.ID)} data-id={m.ID} aria-current={open ? 'true' : undefined} onClick={onOpen} draggable={false}>
                {!m.Read && <span class="visually-hidden">Unread. </span>}
                <span class="row-people">
                    <span class="row-from" dir="auto">
                        {format.name(m.From)}
                    </span>
                    <span class="visually-hidden"> to </span>
                    <span class="row-arrow" aria-hidden="true">
                        →
                    </span>
                    <span class="row-to" dir="auto">
                        {to.length ? format.names(to) : 'no recipient'}
                    </span>
                </span>
                <span class="row-subject" dir="auto">
                    {subject || <em>no subject</em>}
                </span>
                <span class="row-snippet" dir="auto">
                    {m.Snippet}
                </span>
                <span class="row-facts">
                    {m.Attachments > 0 && (
                        <span class="row-clip" title={format.plural(m.Attachments, 'attachment')}>
                            <Icon name="clip" />
                            <span class="visually-hidden">{format.plural(m.Attachments, 'attachment')}, </span>
                        </span>
                    )}
                    <span class="row-size">{format.size(m.Size)}</span>
                </span>
                <time class="row-time" dateTime={date ? m.Created : undefined} title={date ? format.fullDate(date) : undefined}>
                    {date ? format.when(date) : ''}
                </time>
            </a>
        </li>
    );
}

const Skeleton = () => (
    <div class="skeleton" role="status" aria-label="Loading messages">
        {Array.from({ length: 8 }, (_, i) => (
            <div key={i} />
        ))}
    </div>
);

/** All of them when none or some are selected, none when all are. */
export function selectAll(): void {
    const { rows, selected } = mailbox.value;
    select(selected.size === rows.length ? [] : rows.map((r) => r.ID));
}
