// api.ts - the server's REST interface: shapes and calls.  Field names are the API's (docs/api.md).
// Everything here comes from mail, so from a stranger: strings are only ever shown as text.

export interface Address {
    Name: string;
    Address: string;
}

export interface Summary {
    ID: string;
    Read: boolean;
    From: Address | null;
    To: Address[] | null;
    Cc: Address[] | null;
    Bcc: Address[] | null;
    Subject: string;
    Created: string;
    Size: number;
    Attachments: number;
    Snippet: string;
}

export interface List {
    total: number;
    unread: number;
    messages: Summary[] | null;
}

export interface Attachment {
    PartID: string;
    FileName: string;
    ContentType: string;
    ContentID: string;
    Size: number;
    Checksums?: { MD5: string; SHA1: string; SHA256: string };
}

export interface Message {
    ID: string;
    MessageID: string;
    From: Address | null;
    To: Address[] | null;
    Cc: Address[] | null;
    Bcc: Address[] | null;
    ReplyTo: Address[] | null;
    ReturnPath: string;
    Subject: string;
    Date: string;
    Text: string;
    HTML: string;
    Size: number;
    Inline: Attachment[] | null;
    Attachments: Attachment[] | null;
}

export type Headers = Record<string, string[]>;

/** src/smtp/envelope.def; what is not known is "", 0 or null. */
export interface Envelope {
    ID: string;
    Session: string;
    Listener: string;
    Protocol: string;
    ClientAddress: string;
    ClientPort: number;
    ServerAddress: string;
    ServerPort: number;
    ProxyAddress: string;
    Helo: string;
    AuthUser: string;
    AuthMechanism: string;
    TLSVersion: string;
    TLSCipher: string;
    TLSServerName: string;
    Sender: string;
    SenderParams: string;
    Recipients: { Address: string; Params: string }[];
    Connected: string | null;
    Handshake: string | null;
    Mail: string | null;
    Rcpt: string | null;
    Data: string | null;
    Received: string | null;
    BareCR: number;
    BareLF: number;
    NUL: number;
    LongLines: number;
    EightBit: number;
    Transaction: number;
    Chunking: boolean;
}

export interface Session {
    ID: string;
    Started: string;
    Ended: string | null;
    Reason: string;
    Messages: string[];
    Transcript: string;
}

export interface Fault {
    Name: string;
    Text: string;
    Count: number;
    Offset: number;
}

export interface Part {
    PartID: string;
    ContentType: string;
    Charset: string;
    Encoding: string;
    Disposition: string;
    FileName: string;
    ContentID: string;
    HeaderOffset: number;
    BodyOffset: number;
    BodySize: number;
    Size: number;
    /** Places where the transfer encoding is broken. */
    EncodingFaults: number;
    Faults: string[];
    Parts: Part[];
}

export interface Structure {
    Size: number;
    Faults: Fault[];
    Parts: Part[];
}

export interface Listener {
    Name: string;
    Address: string;
    TLS: 'none' | 'starttls' | 'implicit';
}

export interface Info {
    Version: string;
}

/** The server said no, or could not be reached (status 0). */
export class Refused extends Error {
    constructor(
        readonly status: number,
        message: string,
    ) {
        super(message);
    }
}

const API = '/api/v1/';

export const path = {
    message: (id: string) => `${API}message/${encodeURIComponent(id)}`,
    raw: (id: string) => `${API}message/${encodeURIComponent(id)}/raw`,
    part: (id: string, part: string) => `${API}message/${encodeURIComponent(id)}/part/${encodeURIComponent(part)}`,
    text: (id: string) => `/view/${encodeURIComponent(id)}.txt`,
    html: (id: string, query = '') => `/view/${encodeURIComponent(id)}.html${query}`,
};

async function request(url: string, init: RequestInit = {}): Promise<Response> {
    let answer: Response;
    try {
        answer = await fetch(url, { ...init, referrerPolicy: 'no-referrer' });
    } catch (e) {
        if (init.signal?.aborted) throw e;
        throw new Refused(0, 'The server cannot be reached.');
    }
    if (!answer.ok) {
        const said = (await answer.text().catch(() => '')).trim().slice(0, 300);
        throw new Refused(answer.status, said || `${answer.status} ${answer.statusText}`);
    }
    return answer;
}

async function json<T>(url: string, signal?: AbortSignal): Promise<T> {
    return (await request(url, signal ? { signal } : {})).json() as Promise<T>;
}

const send = (method: string, body: unknown) =>
    request(`${API}messages`, {
        method,
        headers: { 'Content-Type': 'application/json' },
        body: JSON.stringify(body),
    });

export const info = () => json<Info>(`${API}info`);
export const listeners = () => json<Listener[]>(`${API}listeners`);
export const list = (start: number, limit: number) => json<List>(`${API}messages?start=${start}&limit=${limit}`);
export const message = (id: string, signal?: AbortSignal) => json<Message>(path.message(id), signal);
export const headers = (id: string, signal?: AbortSignal) => json<Headers>(`${path.message(id)}/headers`, signal);
export const envelope = (id: string, signal?: AbortSignal) => json<Envelope>(`${path.message(id)}/envelope`, signal);
export const session = (id: string, signal?: AbortSignal) => json<Session>(`${path.message(id)}/session`, signal);
export const structure = (id: string, signal?: AbortSignal) => json<Structure>(`${path.message(id)}/structure`, signal);

export const mark = (ids: string[], read: boolean) => send('PUT', { IDs: ids, Read: read });
export const remove = (ids: string[]) => send('DELETE', { IDs: ids });
/** An empty list of IDs means all of them, so this has a name of its own. */
export const removeAll = () => send('DELETE', { IDs: [] });
export const markAll = (read: boolean) => send('PUT', { IDs: [], Read: read });

/** The first `limit` bytes of a text; the rest is not fetched.  A message may have 50 MiB, a page may not. */
export async function textStart(url: string, limit: number, signal: AbortSignal): Promise<{ text: string; cut: boolean }> {
    const answer = await request(url, { signal });
    const reader = answer.body?.getReader();
    if (!reader) return { text: '', cut: false };
    const decoder = new TextDecoder();
    let text = '';
    let taken = 0;
    for (;;) {
        const { done, value } = await reader.read();
        if (done) return { text: text + decoder.decode(), cut: false };
        const room = limit - taken;
        text += decoder.decode(value.subarray(0, room), { stream: true });
        taken += value.length;
        if (value.length > room) {
            void reader.cancel();
            return { text, cut: true };
        }
    }
}
