/**
 * How is a model asked, and what does its answer say, step by step? Nothing here touches the page: a listener hears
 * of each step.
 */

import {readEvents} from "./sse-reader.js";

const SEAM = /^continued, server (\S+), after (\d+) ms$/;
const ROUTE = /^route: (.*)$/;
const SERVER_OF_ROUTE = /(?:^|; )server=([^;\s]+)/;

/** A failure in words that a person can act upon. */
export class AnswerFailed extends Error {}

/**
 * Ask, and tell the listener of each step of the answer.
 *
 * @param {object} request as the chat API has it
 * @param {{csrf: string, signal: AbortSignal}} options
 * @param {object} listener with head({serverId, attempts, route}), routed({serverId, route}), waits(words),
 *   says(text), thinks(text), seam({serverId, milliseconds}), counts(usage), ends(reason)
 * @throws {AnswerFailed} with words for the page; an AbortError where it was stopped
 */
export async function askModel(request, {csrf, signal}, listener) {
  const response = await send(request, csrf, signal);
  listener.head({
    serverId: response.headers.get("x-gateway-server-id") ?? "",
    attempts: Number(response.headers.get("x-gateway-attempts") ?? 0),
    route: response.headers.get("x-gateway-route") ?? "",
  });
  if (!response.ok) throw new AnswerFailed(await wordsOf(response));
  const mark = ` #${response.headers.get("x-gateway-mark") ?? ""}`;
  const isStream = (response.headers.get("content-type") ?? "").startsWith("text/event-stream");
  if (isStream) await readStream(response.body, mark, signal, listener);
  else readWhole(await response.json().catch(() => ({})), listener);
}

async function send(request, csrf, signal) {
  try {
    return await fetch("/ui/playground/chat", {
      method: "POST",
      headers: {"content-type": "application/json", "x-csrf-token": csrf, "x-gateway-route": "why"},
      body: JSON.stringify(request),
      cache: "no-store",
      redirect: "error",
      signal,
    });
  } catch (error) {
    if (signal.aborted) throw error;
    throw new AnswerFailed("The gateway can't be reached. See that it runs and that you are online, then ask again.");
  }
}

/** What the gateway says is wrong, and what to do where that is not said. */
async function wordsOf(response) {
  const told = await response.json().catch(() => null);
  const words = typeof told?.error?.message === "string" ? told.error.message : `The gateway answered with status ${response.status}.`;
  if (told?.error?.code === "sign_in_needed") return "Your sign-in has ended. Load this page again to sign in; copy your message first.";
  const wait = Number(response.headers.get("retry-after"));
  return wait > 0 && !/\bin \d/.test(words) ? `${words} Try again in ${wait} seconds.` : words;
}

async function readStream(body, mark, signal, listener) {
  let isWhole = false;
  try {
    for await (const told of readEvents(body)) {
      if ("comment" in told) readComment(told.comment, mark, listener);
      else if (told.data.trim() === "[DONE]") isWhole = true;
      else readChunk(parse(told.data), listener);
    }
  } catch (error) {
    if (signal.aborted || error instanceof AnswerFailed) throw error;
    throw new AnswerFailed("The connection to the gateway broke before the answer was whole. Ask again.");
  }
  if (!isWhole) throw new AnswerFailed("The answer ended before it was whole. Ask again.");
}

/** The gateway's own comments end in the mark of this answer, which no model server knows; others say nothing here. */
function readComment(comment, mark, listener) {
  if (mark.length < 4 || !comment.endsWith(mark)) return;
  const words = comment.slice(0, -mark.length);
  const seam = SEAM.exec(words);
  const route = ROUTE.exec(words);
  if (seam) listener.seam({serverId: seam[1], milliseconds: Number(seam[2])});
  else if (route) listener.routed({serverId: SERVER_OF_ROUTE.exec(route[1])?.[1] ?? "", route: route[1]});
  else if (words && words !== "ping") listener.waits(words);
}

function readChunk(chunk, listener) {
  if (chunk?.error) throw new AnswerFailed(errorWords(chunk.error));
  const choice = chunk?.choices?.[0];
  const delta = choice?.delta;
  const thought = delta?.reasoning_content ?? delta?.reasoning;
  if (typeof thought === "string" && thought) listener.thinks(thought);
  if (typeof delta?.content === "string" && delta.content) listener.says(delta.content);
  if (choice?.finish_reason) listener.ends(String(choice.finish_reason));
  if (chunk?.usage) listener.counts(chunk.usage);
}

/** A stream that can't go on ends in the gateway's error: why it ended, and why nobody could take over. */
function errorWords(error) {
  const words = typeof error.message === "string" ? error.message : "The server reported an error.";
  const reason = typeof error.reason === "string" && error.reason ? ` Why it could not go on elsewhere: ${error.reason}.` : "";
  return `${words}${reason}`;
}

/** An engine may answer whole where a stream was asked for. */
function readWhole(told, listener) {
  const choice = told.choices?.[0];
  if (!choice?.message) throw new AnswerFailed("The server's answer has no text in it. Ask again, or choose another model.");
  readChunk({choices: [{delta: choice.message, finish_reason: choice.finish_reason}], usage: told.usage}, listener);
}

function parse(data) {
  try {
    return JSON.parse(data);
  } catch {
    throw new AnswerFailed("The server wrote something that is no JSON. Ask again, or choose another model.");
  }
}
