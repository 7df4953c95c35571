'use strict';
(() => {
  const element = (name, attributes = {}, ...children) => {
    const made = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    made.append(...children);
    return made;
  };

  // A chart: the pointer or the arrow keys read its values.
  for (const chart of document.querySelectorAll('.chart')) {
    const svg = chart.querySelector('svg');
    const rule = chart.querySelector('.rule');
    const tip = chart.querySelector('.tip');
    const status = chart.querySelector('[role=status]');
    const { top, bottom, series } = JSON.parse(chart.querySelector('script').textContent);
    const size = svg.viewBox.baseVal;
    const marks = series.map((one) => chart.appendChild(element('span', { class: `mark ${one.class}`, hidden: '' })));
    const places = [...new Set(series.flatMap((one) => one.points.map((point) => point[0])))].sort((a, b) => a - b);
    if (places.length === 0) continue;
    let current = -1;

    const show = (index) => {
      current = Math.max(0, Math.min(places.length - 1, index));
      const x = places[current];
      const scale = svg.clientWidth / size.width;
      const words = [];
      tip.replaceChildren();
      series.forEach((one, at) => {
        const point = one.points.findLast((point) => point[0] === x);
        marks[at].hidden = !point;
        if (!point) return;
        const [, y, place, value] = point;
        marks[at].style.left = `${x * scale}px`;
        marks[at].style.top = `${y * scale}px`;
        tip.append(element('div', {}, `${place}: ${one.name} `, element('b', {}, value)));
        words.push(`${place}: ${one.name} ${value}`);
      });
      rule.hidden = tip.hidden = false;
      rule.style.left = `${x * scale}px`;
      rule.style.top = `${top * scale}px`;
      rule.style.height = `${(bottom - top) * scale}px`;
      const room = chart.clientWidth - tip.offsetWidth;
      tip.style.left = `${Math.max(0, Math.min(room, x * scale - tip.offsetWidth / 2))}px`;
      tip.style.top = `${top * scale - tip.offsetHeight - 4}px`;
      status.textContent = words.join('; ');
    };
    const hide = () => {
      rule.hidden = tip.hidden = true;
      for (const mark of marks) mark.hidden = true;
    };
    const read = (event) => {
      const x = (event.clientX - svg.getBoundingClientRect().left) * (size.width / svg.clientWidth);
      let nearest = 0;
      places.forEach((place, at) => {
        if (Math.abs(place - x) < Math.abs(places[nearest] - x)) nearest = at;
      });
      show(nearest);
    };
    chart.addEventListener('pointerdown', read);
    chart.addEventListener('pointermove', read);
    chart.addEventListener('pointerleave', (event) => {
      // A finger that was lifted leaves what it asked for.
      if (event.pointerType === 'mouse') hide();
    });
    chart.addEventListener('focusout', hide);
    chart.addEventListener('keydown', (event) => {
      const steps = { ArrowLeft: current - 1, ArrowRight: current + 1, Home: 0, End: places.length - 1 };
      if (event.key === 'Escape') hide();
      if (!(event.key in steps)) return;
      event.preventDefault();
      show(steps[event.key]);
    });
    window.addEventListener('resize', hide);
  }

  // The confusion matrix: a cell opens its images.
  const matrix = document.querySelector('.matrix');
  if (matrix) {
    const { classes, cells } = JSON.parse(document.getElementById('cells').textContent);
    const byId = (id) => document.getElementById(id);
    const title = byId('behind-title');
    const start = title.textContent;
    const all = [...matrix.querySelectorAll('button')];

    const tile = ({ sprite, columns }, [place, image, permille]) => element(
      'figure', {},
      element('span', {
        class: `tile sprite-${sprite}`, role: 'img', 'aria-label': `test image ${image}`, title: `test image ${image}`,
        style: `--x:${place % columns};--y:${Math.floor(place / columns)}`,
      }),
      element('figcaption', {}, `${(permille / 10).toFixed(1)} %`),
    );
    const open = (key) => {
      const [label, prediction] = key.split('-').map(Number);
      const button = all.find((one) => one.dataset.cell === key);
      for (const one of all) one.setAttribute('aria-pressed', one === button);
      title.textContent = button.getAttribute('aria-label');
      const cell = cells[key];
      byId('frequent').hidden = true;
      byId('behind-back').hidden = false;
      const count = button.dataset.images;
      byId('behind-note').textContent = cell
        ? `${cell.images.length} of ${count} shown, the surest first, with the probability of ${classes[prediction]}`
        : 'The images are not in this page.';
      byId('behind-tiles').replaceChildren(...(cell ? cell.images.map((one) => tile(cell, one)) : []));
      if (matchMedia('(max-width: 860px)').matches) byId('behind').scrollIntoView({ block: 'nearest', behavior: 'smooth' });
    };
    const back = () => {
      for (const one of all) one.setAttribute('aria-pressed', false);
      title.textContent = start;
      byId('frequent').hidden = false;
      byId('behind-back').hidden = true;
      byId('behind-note').textContent = '';
      byId('behind-tiles').replaceChildren();
    };
    document.addEventListener('click', (event) => {
      const button = event.target.closest('[data-cell]');
      if (button) open(button.dataset.cell);
    });
    byId('behind-back').addEventListener('click', back);

    // One stop for the tab key; the arrow keys go from cell to cell.
    let stop = all[0];
    const settle = (button) => {
      stop.tabIndex = -1;
      stop = button;
      stop.tabIndex = 0;
    };
    for (const one of all) one.tabIndex = -1;
    if (stop) settle(stop);
    matrix.addEventListener('focusin', (event) => settle(event.target));
    matrix.addEventListener('keydown', (event) => {
      const moves = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };
      const move = moves[event.key];
      if (!move) return;
      event.preventDefault();
      let [row, column] = event.target.dataset.cell.split('-').map(Number);
      for (;;) {
        row += move[0];
        column += move[1];
        if (row < 0 || column < 0 || row >= classes.length || column >= classes.length) return;
        const next = matrix.querySelector(`[data-cell="${row}-${column}"]`);
        if (next) return next.focus();
      }
    });
  }

  for (const button of document.querySelectorAll('[data-copy]')) {
    button.addEventListener('click', async () => {
      const code = button.parentElement.querySelector('code');
      try {
        await navigator.clipboard.writeText(code.textContent);
        button.textContent = 'Copied';
      } catch {
        // A page opened from a file may not write to the clipboard everywhere: select it for the reader's own keys.
        getSelection().selectAllChildren(code);
      }
    });
  }
})();
