// The side panel: a document at a passage, the documents, a search, or the settings.

import { html } from "../html.js";
import { t } from "../i18n.js";
import { useApp, useStore } from "../store.js";
import { useEffect, useRef } from "../vendor/preact-hooks.js";
import { DocumentsPanel } from "./DocumentsPanel.js";
import { IconButton } from "./icons.js";
import { PassagePanel } from "./PassagePanel.js";
import { SearchPanel } from "./SearchPanel.js";
import { SettingsPanel } from "./SettingsPanel.js";

const KINDS = {
  passage: { title: (panel) => panel.title || t("Document"), body: PassagePanel },
  documents: { title: () => t("Documents"), body: DocumentsPanel },
  search: { title: () => t("Search passages"), body: SearchPanel },
  settings: { title: () => t("Settings"), body: SettingsPanel },
};

export function Panel() {
  const { store } = useApp();
  const panel = useStore((state) => state.panel);
  const root = useRef();
  const opener = useRef();
  useEffect(() => {
    if (!panel) {
      // The focus goes back to what opened the panel.
      if (opener.current?.isConnected) opener.current.focus({ preventScroll: true });
      opener.current = null;
      return;
    }
    const { activeElement } = document;
    if (!root.current.contains(activeElement)) opener.current = activeElement;
    (root.current.querySelector("[data-autofocus]") ?? root.current).focus({ preventScroll: true });
  }, [panel?.kind, panel?.document, panel?.start]);
  if (!panel) return null;
  const { title, body: Body } = KINDS[panel.kind];
  return html`<aside class="panel" aria-label=${title(panel)} ref=${root} tabindex="-1">
    <header class="panel-head">
      ${panel.back && html`<${IconButton} icon="left" label=${t("Back")} onClick=${() => store.set({ panel: panel.back })} />`}
      <h2 title=${title(panel)}>${title(panel)}</h2>
      <${IconButton} icon="close" label=${t("Close panel")} onClick=${() => store.set({ panel: null })} />
    </header>
    <${Body} panel=${panel} key=${panel.kind} />
  </aside>`;
}
