/** Which fields of the form differ from how the server is? They are marked while somebody types. */

const form = document.getElementById("edit-form");

function differs(name) {
  if (name === "api_key") return form.elements.api_key.value !== "keep";
  const field = form.elements[name];
  return field.value.trim() !== (field.dataset.now ?? "").trim();
}

function mark() {
  for (const sign of form.querySelectorAll("[data-mark]")) sign.hidden = !differs(sign.dataset.mark);
}

/** Who types a new key means it. */
function chooseNewKey(event) {
  if (event.target.name === "new_key" && event.target.value) {
    form.querySelector("input[name=api_key][value=new]").checked = true;
  }
}

if (form) {
  form.addEventListener("input", (event) => {
    chooseNewKey(event);
    mark();
  });
  mark();
}
