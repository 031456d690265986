// pooler/base/list.h - a list whose links stand in its members: no allocation, removal from the middle at no
// cost.
//
// T derives from ListLink<T> and stands in at most one list at a time. The list owns nothing. A T that stands
// in two kinds of lists derives from two ListLinks, told apart by a tag.
#pragma once

#include <cstddef>

#include "pooler/base/check.h"

namespace pgweir {

template <class T, class Tag = void>
class List;

template <class T, class Tag = void>
class ListLink {
 public:
  bool linked() const { return list_ != nullptr; }

 protected:
  ListLink() = default;
  ~ListLink() { PGWEIR_CHECK(!linked()); }
  ListLink(const ListLink&) = delete;
  ListLink& operator=(const ListLink&) = delete;

 private:
  friend class List<T, Tag>;
  T* before_ = nullptr;
  T* after_ = nullptr;
  List<T, Tag>* list_ = nullptr;
};

template <class T, class Tag>
class List {
 public:
  List() = default;
  List(const List&) = delete;
  List& operator=(const List&) = delete;

  bool empty() const { return front_ == nullptr; }
  std::size_t size() const { return size_; }
  T* front() const { return front_; }
  T* back() const { return back_; }
  static T* next(const T& member) { return link(member).after_; }
  static T* previous(const T& member) { return link(member).before_; }
  bool has(const T& member) const { return link(member).list_ == this; }

  void push_back(T& member) {
    Link& l = link(member);
    PGWEIR_CHECK(!l.linked());
    l.list_ = this;
    l.before_ = back_;
    (back_ ? link(*back_).after_ : front_) = &member;
    back_ = &member;
    ++size_;
  }
  void remove(T& member) {
    Link& l = link(member);
    PGWEIR_CHECK(l.list_ == this);
    (l.before_ ? link(*l.before_).after_ : front_) = l.after_;
    (l.after_ ? link(*l.after_).before_ : back_) = l.before_;
    l.before_ = l.after_ = nullptr;
    l.list_ = nullptr;
    --size_;
  }

 private:
  using Link = ListLink<T, Tag>;
  static Link& link(T& member) { return member; }
  static const Link& link(const T& member) { return member; }
  T* front_ = nullptr;
  T* back_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace pgweir
