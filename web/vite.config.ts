/** Builds the page to web/dist, which the server reads at start. */

import { defineConfig } from "vite";

export default defineConfig({
  // The page's Content-Security-Policy allows no inline script and no data: URL but images.
  build: { target: "es2023", modulePreload: { polyfill: false }, assetsInlineLimit: 0 },
});
