// parts.tsx - small pieces that several screens use.
import type { ComponentChildren } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';
import { Icon, type IconName } from './icons';
import { note } from './notices';

interface ButtonProps {
    icon: IconName;
    label: string;
    onClick: () => void;
    /** Shown beside the icon; without it the label is its tooltip. */
    text?: string;
    keys?: string;
    danger?: boolean;
    pressed?: boolean;
    disabled?: boolean;
}

export function Button({ icon, label, onClick, text, keys, danger, pressed, disabled }: ButtonProps) {
    return (
        <button
            type="button"
            class={`button${text ? ' with-text' : ''}${danger ? ' danger' : ''}`}
            aria-label={label}
            aria-keyshortcuts={keys}
            aria-pressed={pressed}
            disabled={disabled}
            title={keys ? `${label} (${keys})` : label}
            onClick={onClick}
        >
            <Icon name={icon} />
            {text && <span>{text}</span>}
        </button>
    );
}

/** Without the clipboard API (plain http on another machine) the text is selected for the hand. */
export function Copy({ text, label = 'Copy' }: { text: string; label?: string }) {
    const [done, setDone] = useState(false);
    const copy = async () => {
        try {
            await navigator.clipboard.writeText(text);
            setDone(true);
            window.setTimeout(() => setDone(false), 1500);
        } catch {
            note('The browser does not let this page copy.', true);
        }
    };
    return <Button icon={done ? 'check' : 'copy'} label={done ? 'Copied' : label} onClick={() => void copy()} />;
}

interface DialogProps {
    title: string;
    onClose: () => void;
    children: ComponentChildren;
}

export function Dialog({ title, onClose, children }: DialogProps) {
    const dialog = useRef<HTMLDialogElement>(null);
    useEffect(() => dialog.current?.showModal(), []);
    return (
        <dialog
            ref={dialog}
            aria-labelledby="dialog-title"
            onClose={onClose}
            onClick={(e) => e.target === dialog.current && dialog.current?.close()}
        >
            <div class="dialog-body">
                <header>
                    <h2 id="dialog-title">{title}</h2>
                    <Button icon="close" label="Close" onClick={() => dialog.current?.close()} />
                </header>
                {children}
            </div>
        </dialog>
    );
}

interface Loaded<T> {
    value?: T;
    failure?: Error;
}

/** What `load` gives for `key`; an answer that comes after the key changed is not shown. */
export function useLoaded<T>(key: string, load: (signal: AbortSignal) => Promise<T>): Loaded<T> & { again: () => void } {
    const [state, setState] = useState<{ key: string } & Loaded<T>>({ key });
    const [round, setRound] = useState(0);
    useEffect(() => {
        const abort = new AbortController();
        load(abort.signal).then(
            (value) => abort.signal.aborted || setState({ key, value }),
            (e: unknown) => abort.signal.aborted || setState({ key, failure: e instanceof Error ? e : new Error(String(e)) }),
        );
        return () => abort.abort();
    }, [key, round]);
    const again = () => {
        setState({ key });
        setRound(round + 1);
    };
    return state.key === key ? { ...state, again } : { again };
}

export const Waiting = ({ what }: { what: string }) => (
    <p class="waiting" role="status">
        Loading {what} …
    </p>
);

export const Failure = ({ error, again }: { error: Error; again?: () => void }) => (
    <div class="failure" role="alert">
        <Icon name="warning" />
        <p>{error.message}</p>
        {again && (
            <button type="button" class="plain" onClick={again}>
                Try again
            </button>
        )}
    </div>
);
