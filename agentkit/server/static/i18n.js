// Translations: messages are written in English in the code, `{name}` stands for a value.

import { CHINESE } from "./zh.js";

export const LANGUAGES = { en: "English", zh: "中文" };

let language = "en";

export function setLanguage(chosen) {
  language = chosen in LANGUAGES ? chosen : "en";
}

export const currentLanguage = () => language;

/** The language of the browser, where the page speaks it. */
export function preferredLanguage(languages) {
  for (const each of languages ?? []) {
    const base = each.toLowerCase().split("-")[0];
    if (base in LANGUAGES) return base;
  }
  return "en";
}

/** Mark a message that is translated where it is shown. */
export const message = (text) => text;

/** Translate a message and fill in its values. */
export function t(english, values = {}) {
  const text = language === "zh" ? CHINESE[english] ?? english : english;
  const shown = (value) => (typeof value === "number" ? formatNumber(value) : String(value));
  return text.replace(/\{(\w+)\}/g, (whole, name) => (name in values ? shown(values[name]) : whole));
}

/** A date near today in words, else as a date. */
export function formatDate(iso, now = new Date()) {
  const date = new Date(iso);
  if (Number.isNaN(date.getTime())) return "";
  const locale = language === "zh" ? "zh-CN" : "en";
  const days = dayNumber(now) - dayNumber(date);
  if (days === 0) return date.toLocaleTimeString(locale, { hour: "2-digit", minute: "2-digit" });
  return date.toLocaleDateString(locale, { month: "short", day: "numeric", year: days > 300 ? "numeric" : undefined });
}

/** The group of a list by date: today, yesterday, this week, or earlier. */
export function dateGroup(iso, now = new Date()) {
  const days = dayNumber(now) - dayNumber(new Date(iso));
  if (days <= 0) return message("Today");
  if (days === 1) return message("Yesterday");
  return days < 7 ? message("This week") : message("Earlier");
}

const dayNumber = (date) => Math.floor((date.getTime() - date.getTimezoneOffset() * 60_000) / 86_400_000);

export const formatNumber = (number) => number.toLocaleString(language === "zh" ? "zh-CN" : "en");
