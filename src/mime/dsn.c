#include "mime/dsn.h"

#include <assert.h>

#include "base/code.h"
#include "mime/encode.h"

enum {
    ADDRESS_MAX = 1000,
    WIDTH = 72,
    FOLD = 76,
    WORD_LENGTH_MAX = 900,
    SAID_LINES_MAX = 20,
    SAID_MAX = 2000,
    SUBJECT_MAX = 200,
    HUMAN_MAX = 4 * 1024 * 1024,
    STATUS_MAX = 12,
};

/* ---- what each action is called, and how it is told ---- */

static const struct {
    const char *name, *subject, *sentence;
    char status_class;
} actions[] = {
    [DSN_FAILED] = {"failed", "Your message could not be delivered",
                    "Your message could not be delivered to the recipients below. It will not be tried again.", '5'},
    [DSN_DELAYED] = {"delayed", "Your message is late",
                     "Your message has not been delivered to the recipients below yet. You do not need to do anything, "
                     "nor send it again: it is being tried again.",
                     '4'},
    [DSN_DELIVERED] = {"delivered", "Your message was delivered",
                       "You asked to be told: your message was delivered to the recipients below.", '2'},
    [DSN_RELAYED] = {"relayed", "Your message was passed on",
                     "You asked to be told: your message was passed on for the recipients below, to a server that does "
                     "not send reports like this one. You will only hear of it again if something goes wrong.",
                     '2'},
    [DSN_EXPANDED] = {"expanded", "Your message was passed on",
                      "You asked to be told: your message was delivered to the addresses below, which pass it on to "
                      "several people. What becomes of it there is not reported.",
                      '2'},
};
enum { ACTIONS = sizeof actions / sizeof *actions };

const char *dsn_action_name(enum dsn_action a) {
    assert((unsigned)a < ACTIONS);
    return actions[a].name;
}

/* What a status means to a person, and what helps.  By subject and detail (RFC 3463 3); the first that fits. */
static const struct {
    str detail; /* "1.1", or "1." for all of its kind */
    const char *meaning, *advice;
} meanings[] = {
    {S_INIT("1.1"), "There is no mailbox with this address.",
     "Check the address for mistakes, or ask the recipient for the right one in another way."},
    {S_INIT("1.2"), "The domain (the part of the address behind the @) cannot be found.",
     "Check the domain for mistakes."},
    {S_INIT("1.3"), "The address is not written as an address has to be.", "Check the address for mistakes."},
    {S_INIT("1.6"), "The mailbox has moved.", "Ask the recipient for the new address in another way."},
    {S_INIT("1.7"), "The server does not accept the sender's address.",
     "Check the address that your mail program sends with."},
    {S_INIT("1.8"), "The server cannot find the domain of the sender's address.",
     "Check the address that your mail program sends with."},
    {S_INIT("1.10"), "The domain (the part of the address behind the @) does not take mail.",
     "Check the domain for mistakes."},
    {S_INIT("1."), "The server did not accept the address.", "Check the address for mistakes."},
    {S_INIT("2.1"), "The mailbox is switched off and takes no mail.", "Reach the recipient in another way."},
    {S_INIT("2.2"), "The mailbox is full.",
     "Send it again later, or tell the recipient in another way that the mailbox is full."},
    {S_INIT("2.3"), "The message is larger than this mailbox may get.", "Send it smaller, or as a link to a file."},
    {S_INIT("2."), "The mailbox did not take the message.", "Reach the recipient in another way."},
    {S_INIT("3.4"), "The message is too large for the recipient's server.", "Send it smaller, or as a link to a file."},
    {S_INIT("3."), "The recipient's server has a problem of its own.",
     "Send it again later, or reach the recipient in another way."},
    {S_INIT("4.4"), "It could not be found out which server takes mail for this domain.",
     "Check the domain (the part of the address behind the @) for mistakes."},
    {S_INIT("4.6"), "The message went in a circle: servers passed it to each other again and again.",
     "Tell the recipient, or the postmaster of the recipient's domain, in another way."},
    {S_INIT("4.7"), "The time in which it can be delivered ran out.",
     "Send it again later, or reach the recipient in another way."},
    {S_INIT("4."), "The recipient's server could not be reached, or the connection broke.",
     "Send it again later, or reach the recipient in another way."},
    {S_INIT("5."), "The servers did not understand each other.",
     "Ask the postmaster of your own domain to look into it."},
    {S_INIT("6.3"), "The recipient's server cannot take the form in which the message is written.",
     "Send it as plain text without attachments."},
    {S_INIT("6.7"), "The recipient's server cannot take addresses with letters beyond a to z.",
     "Send from, and to, addresses without such letters."},
    {S_INIT("6."), "The recipient's server cannot take the form in which the message is written.",
     "Send it as plain text without attachments."},
    {S_INIT("7.1"), "The recipient's server refuses the message, because of its own rules.",
     "What it answered may say why. Otherwise ask the recipient in another way."},
    {S_INIT("7."), "The recipient's server refuses the message for reasons of security or of its own rules.",
     "What it answered may say why. Otherwise ask the recipient in another way."},
    {S_INIT(""), "The recipient's server did not take the message.",
     "What it answered may say why. Otherwise reach the recipient in another way."},
};

/* ---- statuses ---- */

static bool take_digits(str *s, size_t max) {
    size_t n = 0;
    while (n < s->n && char_is_digit(s->p[n]))
        n++;
    *s = str_tail(*s, n);
    return n >= 1 && n <= max;
}

/* "5.1.1" off the front of a text (RFC 3463 2); empty: there is none. */
static str status_of(str text) {
    str rest = text;
    bool good = rest.n > 0 && (rest.p[0] == '2' || rest.p[0] == '4' || rest.p[0] == '5') && take_digits(&rest, 1) &&
                str_skip_char(&rest, '.') && take_digits(&rest, 3) && str_skip_char(&rest, '.') &&
                take_digits(&rest, 3) && (rest.n == 0 || str_has(S(" \t\r\n"), rest.p[0]));
    return good ? str_head(text, text.n - rest.n) : STR_NONE;
}

static bool success(enum dsn_action a) {
    return actions[a].status_class == '2';
}

/* A status of the wrong class (a success that says 5) would tell programs something else than the action. */
static str rcpt_status(const struct dsn_rcpt *r, char made[STATUS_MAX]) {
    str s = status_of(r->status);
    if (s.n == 0)
        s = status_of(r->text);
    if (s.n == 0) {
        unsigned first = r->code / 100;
        bool fits = r->action == DSN_FAILED && (first == 4 || first == 5);
        s = str_n(made, 5);
        made[0] = fits ? (char)('0' + first) : actions[r->action].status_class;
        made[1] = made[3] = '.';
        made[2] = made[4] = '0';
    } else {
        assert(s.n < STATUS_MAX);
        for (size_t i = 0; i < s.n; i++)
            made[i] = s.p[i];
        s = str_n(made, s.n);
        if (r->action == DSN_FAILED ? made[0] == '2' : made[0] != actions[r->action].status_class)
            made[0] = actions[r->action].status_class;
    }
    return s;
}

static size_t meaning_of(str status) {
    str detail = str_tail(status, 2);
    for (size_t i = 0;; i++) {
        str d = meanings[i].detail;
        if (d.n == 0 || (str_ends(d, S(".")) ? str_starts(detail, d) : str_eq(detail, d)))
            return i;
    }
}

/* ---- text of others, made harmless ---- */

/* One line: no controls, nothing that turns text around; beyond ASCII only when it may stand there. */
static void put_said(str s, size_t max, bool utf8, struct buf *out) {
    for (size_t used = 0; s.n && used < max;) {
        uint32_t c;
        size_t n = utf8_char(s, &c);
        bool plain = n == 1 && c >= 32 && c<127, shows = n> 1 && utf8 && utf8_shows(c);
        if (plain || shows)
            buf_add(out, str_head(s, n));
        else
            buf_char(out, c == '\t' || c == '\n' || c == '\r' ? ' ' : '?');
        used += n ? n : 1;
        s = str_tail(s, n ? n : 1);
    }
}

/* An address as it is, or in the form of RFC 6533 3 where only ASCII may stand ("\x{FC}"). */
static void put_address(str address, bool utf8, struct buf *out) {
    for (str s = str_head(address, ADDRESS_MAX); s.n;) {
        uint32_t c;
        size_t n = utf8_char(s, &c);
        if (n == 1 && c > 32 && c < 127)
            buf_char(out, (char)c);
        else if (n > 1 && utf8 && utf8_shows(c))
            buf_add(out, str_head(s, n));
        else if (n > 1)
            buf_printf(out, "\\x{%X}", (unsigned)c);
        else
            buf_char(out, n == 1 && c == ' ' ? ' ' : '?');
        s = str_tail(s, n ? n : 1);
    }
}

/* xtext (RFC 3461 4) decoded; what is none stands for itself. */
static void xtext_decode(str s, struct buf *plain) {
    s = str_head(s, ADDRESS_MAX);
    while (s.n) {
        int high = s.p[0] == '+' && s.n >= 3 ? hex_value(s.p[1]) : -1, low = high >= 0 ? hex_value(s.p[2]) : -1;
        buf_char(plain, low >= 0 ? (char)(high << 4 | low) : s.p[0]);
        s = str_tail(s, low >= 0 ? 3 : 1);
    }
}

/* ---- fields of the machine's part ---- */

/* The field on lines of at most FOLD bytes where its words allow, and never longer than a line may be. */
static void put_field(const char *name, str value, struct buf *out) {
    size_t column = str_of(name).n + 2;
    str word;
    buf_printf(out, "%s:", name);
    if (value.n == 0)
        buf_char(out, ' ');
    while (str_word(&value, &word)) {
        while (word.n) {
            str part = str_head(word, WORD_LENGTH_MAX);
            bool fold = column > str_of(name).n + 2 && column + 1 + part.n > FOLD;
            buf_add(out, fold ? S("\r\n ") : S(" "));
            column = (fold ? 0 : column) + 1 + part.n;
            buf_add(out, part);
            word = str_tail(word, part.n);
        }
    }
    buf_add(out, S("\r\n"));
}

static void put_date_field(const char *name, struct date d, struct buf *out) {
    if (d.us == 0)
        return;
    buf_printf(out, "%s: ", name);
    date_put_5322(out, d);
    buf_add(out, S("\r\n"));
}

static void put_typed_address(const char *name, str address, bool utf8, struct buf *out) {
    struct buf b = BUF(8 * ADDRESS_MAX);
    buf_add(&b, utf8_is_ascii(address) ? S("rfc822; ") : S("utf-8; "));
    put_address(address, utf8, &b);
    put_field(name, buf_str(&b), out);
    buf_free(&b);
}

/* ORCPT is "type;xtext" (RFC 3461 4.2); with the type utf-8 it is not xtext (RFC 6533 3).  What is not ASCII has that
 * type, whatever it was called. */
static void put_original(str orcpt, bool utf8, struct buf *out) {
    str rest = orcpt, type;
    if (!str_cut(&rest, ';', &type) || type.n == 0 || type.n > 20 || rest.n == 0)
        return;
    for (size_t i = 0; i < type.n; i++)
        if (!char_is_alnum(type.p[i]) && type.p[i] != '-')
            return;
    struct buf plain = BUF(ADDRESS_MAX), b = BUF(8 * ADDRESS_MAX);
    if (str_ieq(type, S("utf-8")))
        buf_add(&plain, str_head(rest, ADDRESS_MAX));
    else
        xtext_decode(rest, &plain);
    if (str_ieq(type, S("rfc822")) && !utf8_is_ascii(buf_str(&plain)))
        type = S("utf-8");
    buf_printf(&b, "%.*s; ", STR_ARG(type));
    put_address(buf_str(&plain), utf8, &b);
    put_field("Original-Recipient", buf_str(&b), out);
    buf_free(&plain);
    buf_free(&b);
}

static void put_diagnostic(const struct dsn_rcpt *r, bool utf8, struct buf *out) {
    struct buf b = BUF(2 * SAID_MAX);
    if (r->text.n == 0 || success(r->action))
        return;
    if (r->code)
        buf_printf(&b, "smtp; %03u ", r->code % 1000);
    else
        buf_add(&b, S("X-Penfold; "));
    put_said(r->text, SAID_MAX, utf8, &b);
    put_field("Diagnostic-Code", buf_str(&b), out);
    buf_free(&b);
}

static void put_rcpt_fields(const struct dsn *d, const struct dsn_rcpt *r, struct buf *out) {
    char made[STATUS_MAX];
    struct buf b = BUF(2 * ADDRESS_MAX);
    buf_add(out, S("\r\n"));
    put_original(r->orcpt, d->utf8, out);
    put_typed_address("Final-Recipient", r->address, d->utf8, out);
    buf_printf(out, "Action: %s\r\n", actions[r->action].name);
    buf_printf(out, "Status: %.*s\r\n", STR_ARG(rcpt_status(r, made)));
    if (r->remote.n) {
        buf_add(&b, S("dns; "));
        put_said(r->remote, ADDRESS_MAX, false, &b);
        put_field("Remote-MTA", buf_str(&b), out);
    }
    put_diagnostic(r, d->utf8, out);
    put_date_field("Last-Attempt-Date", r->attempt, out);
    if (r->action == DSN_DELAYED)
        put_date_field("Will-Retry-Until", r->until, out);
    buf_free(&b);
}

static void put_machine_part(const struct dsn *d, struct buf *out) {
    struct buf b = BUF(8 * ADDRESS_MAX);
    buf_printf(&b, "dns; %.*s", STR_ARG(d->host));
    if (d->envid.n) {
        struct buf plain = BUF(ADDRESS_MAX), envid = BUF(8 * ADDRESS_MAX);
        xtext_decode(d->envid, &plain);
        put_address(buf_str(&plain), false, &envid);
        put_field("Original-Envelope-Id", buf_str(&envid), out);
        buf_free(&plain);
        buf_free(&envid);
    }
    put_field("Reporting-MTA", buf_str(&b), out);
    if (d->id.n) {
        buf_reset(&b);
        put_said(d->id, ADDRESS_MAX, false, &b);
        put_field("X-Penfold-Id", buf_str(&b), out);
    }
    put_date_field("Arrival-Date", d->arrival, out);
    for (size_t i = 0; i < d->rcpt_count; i++)
        put_rcpt_fields(d, &d->rcpts[i], out);
    buf_free(&b);
}

/* ---- the person's part ---- */

/* A paragraph, its lines indented. */
static void put_paragraph(str text, unsigned indent, struct buf *out) {
    size_t column = 0;
    str word;
    while (str_word(&text, &word)) {
        while (word.n) {
            str part = str_head(word, WORD_LENGTH_MAX);
            if (column > 0 && column + 1 + part.n > WIDTH) {
                buf_add(out, S("\r\n"));
                column = 0;
            }
            buf_fill(out, ' ', column ? 1 : indent);
            buf_add(out, part);
            column += (column ? 1 : indent) + part.n;
            word = str_tail(word, part.n);
        }
    }
    buf_add(out, S("\r\n"));
}

static void put_reply(const struct dsn_rcpt *r, struct buf *out) {
    str rest = str_head(r->text, SAID_MAX), line;
    for (unsigned i = 0; i < SAID_LINES_MAX && str_line(&rest, &line); i++) {
        struct buf b = BUF(2 * SAID_MAX);
        if (r->code)
            buf_printf(&b, "%03u ", r->code % 1000);
        put_said(line, SAID_MAX, true, &b);
        put_paragraph(buf_str(&b), 8, out);
        buf_free(&b);
    }
}

static void put_said_by(const struct dsn_rcpt *r, struct buf *out) {
    struct buf b = BUF(4 * ADDRESS_MAX);
    if (r->text.n == 0)
        return;
    if (r->code) {
        buf_add(&b, r->remote.n ? S("The server ") : S("The server"));
        put_said(r->remote, ADDRESS_MAX, true, &b);
        buf_add(&b, S(" answered:"));
        put_paragraph(buf_str(&b), 4, out);
    } else {
        buf_add(out, S("    What went wrong:\r\n"));
    }
    put_reply(r, out);
    buf_free(&b);
}

static void put_time(const char *before, struct date d, struct buf *out) {
    struct buf b = BUF(200);
    if (d.us == 0)
        return;
    buf_add(&b, str_of(before));
    date_put_5322(&b, d);
    put_paragraph(buf_str(&b), 4, out);
    buf_free(&b);
}

static void put_rcpt_text(const struct dsn_rcpt *r, struct buf *out) {
    char made[STATUS_MAX];
    size_t meaning = meaning_of(rcpt_status(r, made));
    buf_add(out, S("\r\n<"));
    put_said(r->address, ADDRESS_MAX, true, out);
    buf_add(out, S(">\r\n"));
    if (success(r->action))
        return;
    put_paragraph(str_of(meanings[meaning].meaning), 4, out);
    put_said_by(r, out);
    if (r->action == DSN_FAILED) {
        struct buf b = BUF(1000);
        buf_printf(&b, "What you can do: %s", meanings[meaning].advice);
        put_paragraph(buf_str(&b), 4, out);
        buf_free(&b);
        return;
    }
    put_time("It is tried again at: ", r->next, out);
    put_time("You will be told if it could not be delivered by: ", r->until, out);
}

static void put_original_text(const struct dsn *d, struct buf *out) {
    buf_add(out, S("\r\n"));
    if (d->original_subject.n) {
        buf_add(out, S("    Subject: "));
        put_said(d->original_subject, SUBJECT_MAX, true, out);
        buf_add(out, S("\r\n"));
    }
    if (d->arrival.us) {
        buf_add(out, S("    Received: "));
        date_put_5322(out, d->arrival);
        buf_add(out, S("\r\n"));
    }
    if (d->id.n) {
        buf_add(out, S("    Number: "));
        put_said(d->id, ADDRESS_MAX, false, out);
        buf_add(out, S("\r\n"));
    }
}

static void put_returned_text(const struct dsn *d, struct buf *out) {
    static const char *const sentences[] = {
        [DSN_RETURNS_NOTHING] = "For programs, what happened is told again below this text.",
        [DSN_RETURNS_HEADER] = "Below this text follow what happened, for programs, and the header of your message.",
        [DSN_RETURNS_WHOLE] = "Below this text follow what happened, for programs, and your message.",
    };
    buf_add(out, S("\r\n"));
    put_paragraph(str_of(sentences[d->returns]), 0, out);
}

static void put_person_text(const struct dsn *d, struct buf *out) {
    struct buf b = BUF(1000);
    buf_printf(&b, "This is the mail system of %.*s.", STR_ARG(d->host));
    put_paragraph(buf_str(&b), 0, out);
    put_original_text(d, out);
    for (unsigned action = 0; action < ACTIONS; action++) {
        bool said = false;
        for (size_t i = 0; i < d->rcpt_count; i++) {
            if (d->rcpts[i].action != action)
                continue;
            if (!said) {
                buf_add(out, S("\r\n"));
                put_paragraph(str_of(actions[action].sentence), 0, out);
            }
            said = true;
            put_rcpt_text(&d->rcpts[i], out);
        }
    }
    put_returned_text(d, out);
    buf_free(&b);
}

/* ---- the whole ---- */

bool dsn_is_utf8(const struct dsn *d) {
    bool ascii = utf8_is_ascii(d->to);
    for (size_t i = 0; i < d->rcpt_count; i++)
        ascii = ascii && utf8_is_ascii(d->rcpts[i].address) && utf8_is_ascii(d->rcpts[i].orcpt);
    return d->utf8 && !ascii;
}

enum dsn_returns dsn_returns(const struct dsn_rcpt *rcpts, size_t count, bool header_only, uint64_t size,
                             uint64_t size_max) {
    bool failed = false;
    for (size_t i = 0; i < count; i++)
        failed = failed || rcpts[i].action == DSN_FAILED;
    return failed && !header_only && size <= size_max ? DSN_RETURNS_WHOLE : DSN_RETURNS_HEADER;
}

static void put_boundary(const struct dsn *d, const char *end, struct buf *out) {
    buf_printf(out, "\r\n--=_%.*s%s\r\n", STR_ARG(d->boundary), end);
}

static void put_person_part(const struct dsn *d, bool utf8, struct buf *out) {
    struct buf text = BUF(HUMAN_MAX);
    put_person_text(d, &text);
    bool ascii = utf8_is_ascii(buf_str(&text));
    buf_printf(out, "Content-Type: text/plain; charset=%s\r\n", ascii ? "us-ascii" : "utf-8");
    buf_printf(out, "Content-Transfer-Encoding: %s\r\n", ascii ? "7bit" : utf8 ? "8bit" : "quoted-printable");
    buf_add(out, S("Content-Description: What happened\r\n\r\n"));
    struct encode c = ENCODE(ascii || utf8 ? TRANSFER_IDENTITY : TRANSFER_QUOTED_PRINTABLE);
    encode_put(&c, buf_str(&text), out);
    encode_end(&c, out);
    out->full = out->full || text.full;
    buf_free(&text);
}

static void put_report_part(const struct dsn *d, bool utf8, struct buf *out) {
    if (utf8)
        buf_add(out, S("Content-Type: message/global-delivery-status\r\nContent-Transfer-Encoding: 8bit\r\n"));
    else
        buf_add(out, S("Content-Type: message/delivery-status\r\n"));
    buf_add(out, S("Content-Description: What happened, for programs\r\n\r\n"));
    struct dsn plain = *d;
    plain.utf8 = utf8;
    put_machine_part(&plain, out);
}

static void put_original_head(const struct dsn *d, bool utf8, struct buf *out) {
    static const char *const types[][2] = {
        [DSN_RETURNS_HEADER] = {"text/rfc822-headers", "message/global-headers"},
        [DSN_RETURNS_WHOLE] = {"message/rfc822", "message/global"},
    };
    put_boundary(d, "", out);
    buf_printf(out, "Content-Type: %s\r\n", types[d->returns][utf8]);
    if (d->eight_bit)
        buf_add(out, S("Content-Transfer-Encoding: 8bit\r\n"));
    buf_add(out, d->returns == DSN_RETURNS_WHOLE ? S("Content-Description: Your message\r\n\r\n")
                                                 : S("Content-Description: The header of your message\r\n\r\n"));
}

/* The gravest news is the subject. */
static enum dsn_action gravest(const struct dsn *d) {
    enum dsn_action g = DSN_EXPANDED;
    for (size_t i = 0; i < d->rcpt_count; i++)
        g = d->rcpts[i].action < g ? d->rcpts[i].action : g;
    return g;
}

static bool message_id_good(str s) {
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] <= 32 || s.p[i] >= 127)
            return false;
    return s.n > 2 && s.n < WORD_LENGTH_MAX && str_starts(s, S("<")) && str_ends(s, S(">"));
}

static void put_header(const struct dsn *d, bool utf8, struct buf *out) {
    str about = str_trim(d->original_message_id);
    buf_add(out, S("Date: "));
    date_put_5322(out, d->now);
    buf_printf(out, "\r\nFrom: \"Mail Delivery System\" <MAILER-DAEMON@%.*s>\r\n", STR_ARG(d->host));
    buf_printf(out, "To: <%.*s>\r\nSubject: %s\r\n", STR_ARG(d->to), actions[gravest(d)].subject);
    buf_printf(out, "Message-ID: <%.*s>\r\n", STR_ARG(d->message_id));
    if (message_id_good(about))
        buf_printf(out, "In-Reply-To: %.*s\r\nReferences: %.*s\r\n", STR_ARG(about), STR_ARG(about));
    buf_add(out, S("Auto-Submitted: auto-replied\r\nMIME-Version: 1.0\r\n"));
    buf_printf(out, "Content-Type: multipart/report; report-type=%s;\r\n boundary=\"=_%.*s\"\r\n",
               utf8 ? "global-delivery-status" : "delivery-status", STR_ARG(d->boundary));
    if (utf8 || d->eight_bit)
        buf_add(out, S("Content-Transfer-Encoding: 8bit\r\n"));
}

static bool text_good(str s, bool utf8) {
    for (size_t i = 0; i < s.n; i++)
        if (char_is_ctl(s.p[i]) || str_has(S("<>"), s.p[i]))
            return false;
    return s.n > 0 && s.n < WORD_LENGTH_MAX && (utf8 ? utf8_valid(s) : utf8_is_ascii(s));
}

static bool boundary_good(str s) {
    for (size_t i = 0; i < s.n; i++)
        if (!char_is_alnum(s.p[i]))
            return false;
    return s.n > 0 && s.n <= 60;
}

enum err dsn_build(const struct dsn *d, struct buf *head, struct buf *tail, struct why *w) {
    bool utf8 = dsn_is_utf8(d);
    if (!text_good(d->host, false) || !text_good(d->to, utf8) || !text_good(d->message_id, false) ||
        !boundary_good(d->boundary))
        return why(w, ERR_SYNTAX, "an address or a name that cannot stand in a report");
    put_header(d, utf8, head);
    put_boundary(d, "", head);
    put_person_part(d, utf8, head);
    put_boundary(d, "", head);
    put_report_part(d, utf8, head);
    if (d->returns != DSN_RETURNS_NOTHING)
        put_original_head(d, utf8, head);
    put_boundary(d, "--", tail);
    return head->full || tail->full ? why(w, ERR_FULL, "the report is too large") : OK;
}
