// nodemailer.mjs PORT none|starttls|implicit FILE [USER PASS] - sends the bytes of FILE as they are; prints the last reply.
import { readFileSync } from "node:fs";
import nodemailer from "nodemailer";

const [port, tls, file, user, pass] = process.argv.slice(2);
const transport = nodemailer.createTransport({
  host: "127.0.0.1",
  port: Number(port),
  secure: tls === "implicit",
  requireTLS: tls === "starttls",
  ignoreTLS: tls === "none",
  tls: { rejectUnauthorized: false },
  auth: user ? { user, pass } : undefined,
});
const info = await transport.sendMail({
  envelope: { from: "sender@example.com", to: ["rcpt@example.com"] },
  raw: readFileSync(file),
});
console.log(info.response);
