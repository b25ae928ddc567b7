/** How does a person's key get into the texts to copy? Here in the browser: it is never sent, and nothing keeps it. */

const PLACEHOLDER = "YOUR_KEY";
const VISIBLE = /^[!-~]+$/;

/** The ways to quote a key, by where it stands (`Quoting` on the server's side). Keys are visible ASCII. */
const QUOTED = {
  shell: (key) => `'${key.replaceAll("'", "'\\''")}'`,
  string: (key) => `"${key.replaceAll(/["\\]/g, "\\$&")}"`,
  plain: (key) => key,
};

const field = document.querySelector("[data-key-field]");
const input = document.getElementById("own-key");
const fault = document.getElementById("own-key-error");

function fill() {
  const typed = input.value.trim();
  const fits = typed === "" || VISIBLE.test(typed);
  fault.textContent = fits ? "" : "A key has visible ASCII characters only, without spaces.";
  if (fits) input.removeAttribute("aria-invalid");
  else input.setAttribute("aria-invalid", "true");
  const key = fits && typed ? typed : PLACEHOLDER;
  for (const place of document.querySelectorAll("[data-key-as]")) {
    place.textContent = QUOTED[place.dataset.keyAs](key);
  }
}

if (field && input) {
  field.hidden = false;
  input.addEventListener("input", fill);
  addEventListener("pageshow", fill); // a browser may bring back what was typed
  document.getElementById("model")?.addEventListener("change", (event) => event.target.form.requestSubmit());
}
