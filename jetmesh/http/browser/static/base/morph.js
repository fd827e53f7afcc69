// A page whose contents the server draws: what is there becomes what is wanted, and what stays the same is not touched,
// so that the focus, an open detail and an animation go on.

/** Make the children of `here` those of the HTML text. An element is known again by its id, or by its place and name. */
export function morph(here, html) {
  const wanted = document.createElement("template");
  wanted.innerHTML = html;
  children(here, wanted.content);
}

function children(here, wanted) {
  const named = new Map([...here.children].filter((each) => each.id).map((each) => [each.id, each]));
  let at = here.firstChild;
  for (const next of [...wanted.childNodes]) {
    const known = next.id ? named.get(next.id) : at && !at.id && isAlike(at, next) && at;
    if (!known || !isAlike(known, next)) {
      here.insertBefore(next, at);
    } else {
      if (known === at) at = at.nextSibling;
      else here.insertBefore(known, at);
      become(known, next);
    }
  }
  while (at) {
    const rest = at.nextSibling;
    at.remove();
    at = rest;
  }
}

function isAlike(one, other) {
  return one.nodeType === other.nodeType && one.nodeName === other.nodeName;
}

function become(known, wanted) {
  if (known.nodeType !== Node.ELEMENT_NODE) {
    if (known.nodeValue !== wanted.nodeValue) known.nodeValue = wanted.nodeValue;
    return;
  }
  if (known.hasAttribute("data-keep")) return;
  for (const { name, value } of [...wanted.attributes]) {
    if (known.getAttribute(name) !== value) known.setAttribute(name, value);
  }
  for (const { name } of [...known.attributes]) {
    if (name !== "open" && !wanted.hasAttribute(name)) known.removeAttribute(name);
  }
  children(known, wanted);
}
