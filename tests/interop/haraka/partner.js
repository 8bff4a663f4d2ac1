// partner.js - a plugin for Haraka that makes it a mail server for one domain: mailboxes are folders with a file for each message;
// back@ leads to another server; later@ is answered 4xx until a file is there; mail for office.example goes out with a password.
'use strict'

const fs = require('node:fs')
const path = require('node:path')

const outbound = require('./outbound')
const { Address } = require('@haraka/email-address')

exports.register = function () {
    this.settings = this.config.get('partner.ini').main
}

exports.hook_mail = function (next, connection) {
    if (!connection.tls.enabled) return next(DENY, 'TLS first')
    next(OK)
}

exports.hook_rcpt = function (next, connection, [rcpt]) {
    const { domain, known } = this.settings
    if (rcpt.host !== domain) return next(OK)
    if (rcpt.user === 'later' && !fs.existsSync(known)) return next(DENYSOFT, 'not known yet')
    if (!['box', 'later', 'back', 'büro'].includes(rcpt.user)) return next(DENY, 'nobody here')
    next(OK)
}

function keep(stream, folder, name, done) {
    fs.mkdirSync(path.join(folder, 'new'), { recursive: true })
    const file = fs.createWriteStream(path.join(folder, name))
    file.on('close', () => {
        fs.renameSync(path.join(folder, name), path.join(folder, 'new', name))
        done()
    })
    stream.pipe(file, { line_endings: '\r\n' })
}

exports.hook_queue = function (next, connection) {
    const { domain, mail } = this.settings
    const { transaction } = connection
    const here = []
    const away = []
    for (const rcpt of transaction.rcpt_to) {
        if (rcpt.host !== domain) away.push(rcpt)
        else if (rcpt.user === 'back') away.push(new Address('<ada@penfold.example>'))
        else here.push(rcpt.user)
    }
    const step = () => {
        const box = here.shift()
        if (box) return keep(transaction.message_stream, path.join(mail, box), transaction.uuid, step)
        if (!away.length) return next(OK)
        transaction.rcpt_to = away
        outbound.send_trans_email(transaction, next)
    }
    step()
}

exports.hook_get_mx = function (next, hmail, domain) {
    const { user, password } = this.settings
    if (domain !== 'office.example') return next()
    next(OK, { priority: 0, exchange: 'mx.penfold.example', port: 587, auth_user: user, auth_pass: password })
}
