/* Sessions, frames of every peer and their comings and goings in any order: nothing breaks, and all of it ends.
 * The input is a row of actions: a byte, its length (one byte), that many bytes. */
#include "role/smtpd_core.h"
#include "role/smtpd_inside.h"
#include "role/smtpd_spool.h"

#include <assert.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { SESSIONS = 4, TAGS = 8 };

static struct {
    struct smtpd_core core;
    struct smtpd_session *sessions[SESSIONS];
    uint32_t tags[TAGS]; /* of questions to the store and to keyd, the newest ones */
    uint64_t mail;
    unsigned tag_count;
    struct directory *directory;
    uint8_t random;
} f;

#define CONFIG                                                                                                         \
    "mode server\nhostname mx.example.org\nlisten in {\naddress 127.0.0.1:25\npolicy mx\n}\n"                          \
    "listen users {\naddress 127.0.0.1:587\npolicy submission\nauth required\n}\n"                                     \
    "listen local {\naddress unix:/tmp/x\npolicy submission\n}\n"                                                      \
    "domain example.org {\n}\naccount a@example.org {\n}\nalias t@example.org {\nto a@example.org x@example.net\n}\n"  \
    "route h {\nheader X: y*\naction reject\n}\n"

static void keep_tag(uint32_t tag) {
    f.tags[f.tag_count++ % TAGS] = tag;
}

static void send_frame(enum role to, const struct frame *frame) {
    struct buf b = BUF(FRAME_MAX);
    assert(f.core.up[to]);
    frame_put(&b, frame);
    assert(!b.full);
    buf_free(&b);
    if (frame->type == FRAME_MAIL_BEGIN)
        f.mail = frame->mail_begin.mail;
    if (frame->type == FRAME_LIMIT_TAKE)
        keep_tag(frame->limit_take.tag);
    if (frame->type == FRAME_AUTH_BEGIN)
        keep_tag((uint32_t)frame->auth_begin.tag);
    if (frame->type == FRAME_LOOKUP)
        keep_tag(frame->lookup.tag);
}

static void fill(void *p, size_t n) {
    memset(p, ++f.random, n);
}
static uint64_t now_ms(void) {
    return 1000;
}
static uint64_t wall_us(void) {
    return 1800000000000000;
}
static void wake(struct smtpd_session *s) {
    assert(!s->waits);
}
static bool no_binding(struct smtpd_session *s, uint8_t b[32]) {
    (void)s, (void)b;
    return false;
}
static void no_log(enum event_id e, struct smtpd_session *s, str detail) {
    (void)e, (void)s, (void)detail;
}
static bool has_tls(str listener) {
    (void)listener;
    return false;
}
static const struct smtpd_ops ops = {send_frame, fill, now_ms, wall_us, wake, no_binding, no_log};

static void feed(unsigned i, str in) {
    struct smtpd_session *s = f.sessions[i];
    enum smtpd_do what;
    do {
        what = smtpd_session_run(s, &in, 1000);
        smtp_server_sent(&s->smtp);
    } while (what == SMTPD_FLUSH);
    if (what == SMTPD_TLS)
        smtpd_session_lost(s, "no TLS here");
    if (what != SMTPD_CLOSE)
        return;
    smtpd_session_free(s);
    f.sessions[i] = NULL;
}

static void session(uint8_t action, str text) {
    static const str listeners[] = {S_INIT("in"), S_INIT("users"), S_INIT("local")};
    unsigned i = action % SESSIONS;
    struct smtpd_caller c = {.listener = listeners[action / SESSIONS % 3], .client = S("unix"), .user = S("a")};
    if (!f.sessions[i])
        f.sessions[i] = smtpd_session_new(&f.core, &c, 1000, 1800000000000000);
    if (f.sessions[i])
        feed(i, text);
}

static void look_up(uint32_t tag, str text) {
    struct arena a = ARENA(1 << 20);
    struct directory_answer answer;
    struct buf b = BUF(1 << 16);
    directory_lookup(f.directory, str_head(text, 300), S("a@example.org"), &a, &answer);
    directory_answer_put(&b, &answer);
    smtpd_core_frame(&f.core, &(struct frame){FRAME_LOOKED_UP, .looked_up = {tag, buf_str(&b)}});
    buf_free(&b);
    arena_free(&a);
}

/* Frames whose numbers mean something now. */
static void good_frame(uint8_t action, str text) {
    uint32_t tag = f.tags[action % TAGS];
    switch (action / TAGS % 8) {
    case 0: look_up(tag, text); break;
    case 1:
        smtpd_core_frame(&f.core, &(struct frame){FRAME_MAIL_DONE, .mail_done = {f.mail, action & 1, S("")}});
        break;
    case 2: smtpd_core_frame(&f.core, &(struct frame){FRAME_LIMIT_TAKEN, .limit_taken = {tag, OK, S("")}}); break;
    case 3:
        smtpd_core_frame(&f.core, &(struct frame){FRAME_AUTH_OK, .auth_ok = {tag, text, S("a@example.org")}});
        break;
    case 4: smtpd_core_frame(&f.core, &(struct frame){FRAME_AUTH_CHALLENGE, .auth_challenge = {tag, text}}); break;
    case 5: smtpd_core_frame(&f.core, &(struct frame){FRAME_INJECT_BODY, .inject_body = {1, text}}); break;
    case 6: smtpd_core_frame(&f.core, &(struct frame){FRAME_INJECT_END, .inject_end = {1}}); break;
    default: smtpd_core_frame(&f.core, &(struct frame){FRAME_DIRECTORY_CHANGED}); break;
    }
}

static void any_frame(str bytes) {
    struct frame frame;
    struct buf b = BUF(FRAME_MAX);
    buf_u32(&b, (uint32_t)(bytes.n + 4));
    buf_add(&b, bytes);
    str in = buf_str(&b);
    int theirs = FRAME_STORE_TO_SMTPD | FRAME_STORE_TO_WORKER | FRAME_FROM_KEYD | FRAME_HTTPD_TO_SMTPD;
    if (frame_take(&in, &frame) == OK && frame_direction(frame.type) & theirs)
        smtpd_core_frame(&f.core, &frame);
    buf_free(&b);
}

static void up_or_down(uint8_t action) {
    static const enum role roles[] = {ROLE_STORE, ROLE_KEYD, ROLE_HTTPD};
    enum role r = roles[action % 3];
    if (f.core.up[r])
        smtpd_core_down(&f.core, r);
    else
        smtpd_core_up(&f.core, r);
}

static void spool(str text) {
    struct smtpd_spool *p = smtpd_spool_new(&f.core, 1, S("a"), false);
    if (!p)
        return;
    (void)smtpd_spool_add(p, text);
    smtpd_spool_run(p, OK);
}

static void act(uint8_t action, str text) {
    switch (action & 7) {
    case 0:
    case 1: session(action >> 3, text); break;
    case 2:
    case 3: good_frame(action >> 2, text); break;
    case 4: any_frame(text); break;
    case 5: up_or_down(action >> 3); break;
    case 6: spool(text); break;
    default:
        if (f.sessions[action >> 3 & 3]) {
            smtpd_session_lost(f.sessions[action >> 3 & 3], "gone");
            feed(action >> 3 & 3, STR_NONE);
        }
    }
}

static void begin(void) {
    struct conf c;
    struct conf_errors errors = {0};
    memset(&f, 0, sizeof f);
    smtpd_core_init(&f.core, &ops);
    enum err e = conf_parse(S(CONFIG), "fuzz", &c, &errors);
    f.directory = directory_new(1);
    assert(e == OK && f.directory && directory_conf(f.directory, &c, NULL) == OK);
    e = smtpd_core_configure(&f.core, &c, STR_NONE, 1, has_tls, NULL);
    assert(e == OK);
    conf_errors_free(&errors);
    conf_free(&c);
    smtpd_core_up(&f.core, ROLE_STORE);
    smtpd_core_up(&f.core, ROLE_SUPERVISOR);
}

/* A spooled file waits for the store: it is told that it has gone. */
static void end(void) {
    if (f.core.up[ROLE_STORE])
        smtpd_core_down(&f.core, ROLE_STORE);
    for (unsigned i = 0; i < SESSIONS; i++)
        if (f.sessions[i]) {
            smtpd_session_lost(f.sessions[i], "over");
            feed(i, STR_NONE);
            assert(!f.sessions[i]);
        }
    smtpd_core_free(&f.core);
    directory_free(f.directory);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    str in = str_n(data, size);
    uint8_t action, n;
    begin();
    while (take_u8(&in, &action) && take_u8(&in, &n)) {
        act(action, str_head(in, n));
        in = str_tail(in, n < in.n ? n : in.n);
    }
    end();
    return 0;
}
