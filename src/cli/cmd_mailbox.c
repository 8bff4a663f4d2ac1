/* cmd_mailbox.c - penfold mailbox: the folders of an account, and their messages from and to Maildir and mbox.
 * A message is counted when the other side has it: imported ones are on the server's stable storage then, exported ones
 * in their files.  What was interrupted says how far it came and can be run again. */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/cli_http.h"
#include "cli/cli_progress.h"
#include "cli/cli_table.h"
#include "cli/mail_source.h"
#include "cli/mail_target.h"
#include "cli/mailbox_api.h"
#include "cli/mailbox_known.h"
#include "mime/folder.h"

static const struct cli_option options[] = {
    CLI_HTTP_ADMIN_OPTION,
    {.name = "folder",
     .value = "FOLDER",
     .sentence = "This folder alone. Of an import, all messages go there. Without it a Maildir has all folders, and an "
                 "mbox is INBOX."},
    {.name = "maildir",
     .value = "DIR",
     .sentence = "Messages are in this Maildir, folders below it as Maildir++ has them."},
    {.name = "mbox", .value = "FILE", .sentence = "Messages are in this mbox file; - is stdin or stdout."},
    {.name = "skip-existing", .sentence = "Import no message that its folder has already, equal in all bytes."},
    {.name = "json", .sentence = "The result as JSON."},
};

const struct cli_page cli_mailbox_page = {
    .name = "mailbox",
    .operands = "list|export|import ACCOUNT",
    .operands_min = 2,
    .operands_max = 2,
    .sentence = "List, export and import the folders of an account.",
    .options = options,
    .option_count = sizeof options / sizeof *options,
};

struct job {
    const struct cli_args *args;
    const char *file, *folder; /* of --maildir or --mbox; of --folder, or NULL */
    bool maildir, imports;
    struct buf account;
    json_t *folders; /* of the result: a number for each */
    struct cli_progress progress;
    uint64_t done, bytes, skipped, refused;
    bool stopped; /* it is not complete */
};

static volatile sig_atomic_t interrupted;

static void on_signal(int number) {
    (void)number;
    interrupted = 1;
}

/* Between two messages: the one at hand is finished. */
static void catch_signals(void) {
    struct sigaction a = {.sa_handler = on_signal};
    sigaction(SIGINT, &a, NULL);
    sigaction(SIGTERM, &a, NULL);
}

/* ---- what came of it ---- */

static void count(struct job *j, const struct mail_item *item) {
    json_t *n = json_object_getn(j->folders, item->folder.p, item->folder.n);
    json_int_t before = json_integer_value(n);
    json_object_setn_new(j->folders, item->folder.p, item->folder.n, json_integer(before + 1));
    j->done++;
    j->bytes += item->bytes.n;
}

/* One message that stays behind; the others go on. */
static void refuse(struct job *j, const struct mail_item *item, str text) {
    struct buf clean = BUF(64 * 1024);
    cli_progress_clear(&j->progress);
    buf_add(&clean, item->name);
    buf_add(&clean, S(": "));
    buf_add(&clean, text);
    struct buf line = BUF(64 * 1024);
    cli_cell(buf_str(&clean), 0, &line);
    cli_error(j->args->page, EX_DATAERR, "%s", buf_cstr(&line));
    buf_free(&clean);
    buf_free(&line);
    j->refused++;
}

static void tell_json(const struct job *j, FILE *to) {
    json_t *folders = json_array(), *n;
    const char *name;
    json_object_foreach(j->folders, name, n)
        json_array_append_new(folders, json_pack("{sssO}", "Name", name, "Messages", n));
    json_t *root = json_object();
    json_object_set_new(root, "Account", json_stringn(j->account.p, j->account.n));
    json_object_set_new(root, j->imports ? "Imported" : "Exported", json_integer((json_int_t)j->done));
    json_object_set_new(root, "Bytes", json_integer((json_int_t)j->bytes));
    json_object_set_new(root, "Skipped", json_integer((json_int_t)j->skipped));
    json_object_set_new(root, "Refused", json_integer((json_int_t)j->refused));
    json_object_set_new(root, "Complete", json_boolean(!j->stopped));
    json_object_set_new(root, "Folders", folders);
    json_dumpf(root, to, JSON_COMPACT);
    fputc('\n', to);
    json_decref(root);
}

static void tell_text(const struct job *j, FILE *to) {
    fprintf(to, "%" PRIu64 " message%s %s", j->done, j->done == 1 ? "" : "s", j->imports ? "imported" : "exported");
    if (j->skipped)
        fprintf(to, ", %" PRIu64 " were there already", j->skipped);
    if (j->refused)
        fprintf(to, ", %" PRIu64 " could not be", j->refused);
    fprintf(to, "\n");
    if (!j->stopped)
        return;
    const char *how = j->imports        ? "run it again with --skip-existing for the rest"
                      : j->maildir      ? "run it again for the rest"
                      : *j->file == '-' ? "what was written is not all"
                                        : "there is no file";
    cli_error(j->args->page, EX_TEMPFAIL, "it was interrupted: %s", how);
}

static int conclude(struct job *j, int status) {
    bool to_stdout = !j->imports && !j->maildir && strcmp(j->file, "-") == 0;
    FILE *to = to_stdout ? stderr : stdout;
    cli_progress_clear(&j->progress);
    j->stopped = j->stopped || interrupted || status != EX_OK;
    if (cli_flag(j->args, "json"))
        tell_json(j, to);
    else
        tell_text(j, to);
    if (fflush(stdout) != 0)
        return EX_IOERR;
    return status != EX_OK ? status : interrupted ? EX_TEMPFAIL : j->refused ? EX_DATAERR : EX_OK;
}

/* ---- import ---- */

struct import {
    struct job *job;
    struct mail_source *source;
    struct mailbox_known *known; /* of the folder at hand */
    struct buf folder;
};

static int enter_folder(struct import *i, str folder) {
    if (!cli_flag(i->job->args, "skip-existing") || (i->known && str_eq(buf_str(&i->folder), folder)))
        return EX_OK;
    mailbox_known_free(i->known);
    i->known = NULL;
    buf_reset(&i->folder);
    buf_add(&i->folder, folder);
    return mailbox_known_new(&i->known, i->job->args, buf_str(&i->job->account), folder);
}

static int import_one(struct import *i, const struct mail_item *item) {
    struct job *j = i->job;
    struct buf refusal = BUF(4096);
    bool known = false;
    int status = enter_folder(i, item->folder);
    if (status == EX_OK && i->known)
        status = mailbox_known_take(i->known, item->bytes, &known);
    if (status == EX_OK && !known)
        status = mailbox_append(j->args, buf_str(&j->account), item, &refusal);
    if (known)
        j->skipped++;
    else if (status == EX_OK)
        count(j, item);
    if (status == EX_DATAERR) {
        refuse(j, item, buf_str(&refusal));
        status = EX_OK;
    }
    buf_free(&refusal);
    return status;
}

static int import_all(struct import *i) {
    struct job *j = i->job;
    struct mail_item item;
    struct why w;
    int status = EX_OK;
    while (status == EX_OK && !interrupted) {
        uint64_t done, total;
        enum err e = mail_source_next(i->source, &item, &w);
        if (e == ERR_NOT_FOUND)
            return EX_OK;
        mail_source_progress(i->source, &done, &total);
        if (e)
            refuse(j, &item, str_of(w.text));
        else
            status = import_one(i, &item);
        cli_progress_show(&j->progress, item.folder, j->done, done, total);
    }
    return status;
}

static int import(struct job *j) {
    struct import i = {.job = j, .folder = BUF(FOLDER_NAME_MAX)};
    struct why w;
    enum err e = j->maildir ? mail_source_maildir(&i.source, j->file, j->folder, &w)
                            : mail_source_mbox(&i.source, j->file, j->folder, &w);
    if (e) {
        buf_free(&i.folder);
        return cli_error(j->args->page, e == ERR_NOMEM ? EX_OSERR : EX_NOINPUT, "%s", w.text);
    }
    int status = conclude(j, import_all(&i));
    mail_source_free(i.source);
    mailbox_known_free(i.known);
    buf_free(&i.folder);
    return status;
}

/* ---- export ---- */

struct export {
    struct job *job;
    struct mail_target *target;
    uint64_t seen, total; /* messages */
};

static int target_failed(const struct export *x, enum err e, const struct why *w) {
    return cli_error(x->job->args->page, e == ERR_NOMEM ? EX_OSERR : EX_IOERR, "%s", w->text);
}

static int fetch_and_put(struct export *x, struct mail_item *item, const char *id) {
    struct buf bytes = BUF(MAIL_ITEM_MAX);
    struct why w;
    enum err e = OK;
    int status = mailbox_fetch(x->job->args, id, &bytes);
    item->bytes = buf_str(&bytes);
    if (status == EX_OK)
        e = mail_target_put(x->target, item, &w);
    if (e)
        status = target_failed(x, e, &w);
    else if (status == EX_OK)
        count(x->job, item);
    buf_free(&bytes);
    return status == EX_DATAERR ? EX_OK : status; /* it has been deleted meanwhile */
}

static int export_one(struct export *x, str folder, const struct mailbox_row *row) {
    struct buf name = BUF(100);
    int status = EX_OK;
    buf_printf(&name, "%s.%" PRIu64, row->id, row->uid);
    struct mail_item item = {
        .folder = folder, .name = buf_str(&name), .flags = row->flags, .received_us = row->received_us};
    if (mail_target_has(x->target, &item))
        x->job->skipped++;
    else
        status = fetch_and_put(x, &item, row->id);
    buf_free(&name);
    return status;
}

static int export_folder(struct export *x, str folder) {
    struct job *j = x->job;
    struct mailbox_rows rows = {.args = j->args, .account = buf_str(&j->account), .folder = folder};
    struct mailbox_row row;
    struct why w;
    enum err e = mail_target_folder(x->target, folder, &w);
    if (e == ERR_SYNTAX) {
        refuse(j, &(struct mail_item){.name = folder}, str_of(w.text));
        return EX_OK;
    }
    int status = e ? target_failed(x, e, &w) : mailbox_rows_next(&rows, &row);
    while (status == EX_OK && row.id && !interrupted) {
        status = export_one(x, folder, &row);
        x->seen++;
        cli_progress_show(&j->progress, folder, j->done, x->seen, x->total);
        if (status == EX_OK)
            status = mailbox_rows_next(&rows, &row);
    }
    mailbox_rows_end(&rows);
    return status;
}

static bool wanted(const struct job *j, str folder) {
    return j->folder ? str_ieq(folder, str_of(j->folder)) : j->maildir || str_eq(folder, S("INBOX"));
}

static str name_of(const json_t *folder) {
    return str_of(json_string_value(json_object_get(folder, "Name")));
}

static int export_folders(struct export *x, json_t *folders) {
    struct job *j = x->job;
    size_t i, found = 0;
    json_t *one;
    int status = EX_OK;
    json_array_foreach(folders, i, one) if (wanted(j, name_of(one))) {
        x->total += (uint64_t)json_integer_value(json_object_get(one, "Messages"));
        found++;
    }
    if (j->folder && !found)
        return cli_error(j->args->page, EX_UNAVAILABLE, "there is no folder %s", j->folder);
    json_array_foreach(folders, i, one) if (status == EX_OK && !interrupted && wanted(j, name_of(one))) status =
        export_folder(x, name_of(one));
    return status;
}

static int export_all(struct export *x) {
    struct job *j = x->job;
    json_t *folders = NULL;
    struct why w;
    int status = mailbox_folders(j->args, buf_str(&j->account), &folders);
    if (status == EX_OK)
        status = export_folders(x, folders);
    json_decref(folders);
    if (status != EX_OK || (interrupted && !j->maildir))
        return status;
    enum err e = mail_target_finish(x->target, &w);
    return e ? target_failed(x, e, &w) : EX_OK;
}

static int export(struct job *j) {
    struct export x = {.job = j};
    struct why w;
    enum err e = j->maildir ? mail_target_maildir(&x.target, j->file, j->folder != NULL, &w)
                            : mail_target_mbox(&x.target, j->file, &w);
    if (e)
        return cli_error(j->args->page, e == ERR_NOMEM ? EX_OSERR : EX_CANTCREAT, "%s", w.text);
    int status = conclude(j, export_all(&x));
    mail_target_free(x.target);
    return status;
}

/* ---- all of it ---- */

static int list(struct job *j) {
    static const struct cli_column columns[] = {
        {"Name", 24, 0}, {"Role", 8, 8}, {"Messages", 10, 10}, {"Unseen", 10, 10}, {"Bytes", 12, 12}};
    struct buf path = BUF(8192);
    buf_add(&path, S("/api/v1/admin/mailboxes/"));
    cli_http_escape(buf_str(&j->account), &path);
    int status = cli_table_print(j->args, buf_cstr(&path), "Mailboxes", columns, sizeof columns / sizeof *columns,
                                 "No folders: no mail has come yet.");
    buf_free(&path);
    return status;
}

static int take_place(struct job *j) {
    const char *maildir = cli_text(j->args, "maildir"), *mbox = cli_text(j->args, "mbox");
    j->maildir = maildir != NULL;
    j->file = maildir ? maildir : mbox;
    j->folder = cli_text(j->args, "folder");
    if (!maildir == !mbox)
        return cli_usage_error(j->args->page, "say one of --maildir DIR and --mbox FILE");
    if (j->folder && !folder_name_valid(str_of(j->folder)))
        return cli_usage_error(j->args->page, "--folder: that is no name for a folder");
    if (cli_flag(j->args, "skip-existing") && !j->imports)
        return cli_usage_error(j->args->page, "--skip-existing is for import");
    return EX_OK;
}

static int run(struct job *j) {
    const char *what = j->args->operands[0];
    bool lists = strcmp(what, "list") == 0;
    j->imports = strcmp(what, "import") == 0;
    if (!lists && !j->imports && strcmp(what, "export") != 0)
        return cli_usage_error(j->args->page, "there is no \"mailbox %s\"", what);
    int status = lists ? EX_OK : take_place(j);
    if (status == EX_OK)
        status = mailbox_account(j->args, j->args->operands[1], &j->account);
    if (status != EX_OK)
        return status;
    if (lists)
        return list(j);
    catch_signals();
    return j->imports ? import(j) : export(j);
}

int cmd_mailbox(int argc, char **argv) {
    struct cli_args args;
    int status = cli_parse(&cli_mailbox_page, argc, argv, &args);
    if (status == CLI_GO_ON) {
        struct job j = {.args = &args, .account = BUF(1024), .folders = json_object()};
        status = run(&j);
        json_decref(j.folders);
        buf_free(&j.account);
    }
    cli_args_free(&args);
    return status;
}
